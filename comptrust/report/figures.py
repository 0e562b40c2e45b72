"""Log figures on the runs they are about: PNG to look at in MLflow, HTML that also has the text."""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from comptrust.report import entries, page
from comptrust.report.drawing import Picture
from comptrust.report.page import Family
from comptrust.tracking import runs

FOLDER = "report"
"""Artifact folder of a run."""


def log(run_id: str) -> None:
    """Log a run's verdict card and the figures about this version alone, replacing older ones."""
    entry = entries.read_run(run_id)
    _log([run_id], page.own_pictures(entry), {"card.html": page.render_card(entry)})


def log_families(families: Sequence[Family], *, say: Callable[[str], None]) -> None:
    """Log the figures of every dense source on the runs they show.

    Figures of a published table are logged on the run of the dense source only, not on each row.
    """
    for family in families:
        run_ids = [
            entry.run_id
            for entry in family.entries
            if entry.run_id and (entry.source == "own" or entry.method == "none")
        ]
        if family.pictures:
            _log(run_ids, family.pictures)
            names = ", ".join(picture.name for picture in family.pictures)
            say(f"{family.pictures[0].family}: {names} logged on {len(run_ids)} runs")


def log_page(path: Path) -> None:
    """Log a report on the run that `mlflow run` created for this process, if there is one."""
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        with runs.connected() as client:
            client.log_artifact(run_id, str(path), FOLDER)


def _log(
    run_ids: Iterable[str], pictures: Sequence[Picture], pages: Mapping[str, str] | None = None
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, text in (pages or {}).items():
            (folder / name).write_text(text, encoding="utf-8")
        for picture in pictures:
            html = page.render_picture(picture)
            (folder / f"{picture.name}.html").write_text(html, encoding="utf-8")
            (folder / f"{picture.name}.png").write_bytes(picture.png())
        with runs.connected() as client:
            for run_id in run_ids:
                client.log_artifacts(run_id, temporary, FOLDER)
