"""Figures on the runs that they are about: each as PNG, for a look in MLflow, and as HTML, which
also says it in words.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from comptrust.report import entries, page
from comptrust.report.drawing import Picture
from comptrust.report.page import Family
from comptrust.tracking import runs

FOLDER = "report"
"""Artifact folder of a run."""


def log(run_id: str) -> None:
    """Log a run's verdict card and the figures about this version alone, in place of those that it
    has.
    """
    entry = entries.one(run_id)
    _log([run_id], page.own_pictures(entry), {"card.html": page.render_card(entry)})


def log_families(found: Sequence[Family], *, say: Callable[[str], None]) -> None:
    """Log the figures of every dense source on the runs that they show.

    A published table's figures go to the run of the dense source alone: one copy for each of its
    rows would be the same.
    """
    for family in found:
        ids = [
            one.run_id
            for one in family.entries
            if one.run_id and (one.source == "own" or one.method == "none")
        ]
        if family.pictures:
            _log(ids, family.pictures)
            say(
                f"{family.pictures[0].family}: {', '.join(one.name for one in family.pictures)}"
                f" logged on {len(ids)} runs"
            )


def log_page(path: Path) -> None:
    """Keep a report on the run that `mlflow run` made for this process; without one there is no run
    to keep it on.
    """
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        with runs.service():
            runs.client().log_artifact(run_id, str(path), FOLDER)


def _log(
    run_ids: Iterable[str], pictures: Sequence[Picture], texts: dict[str, str] | None = None
) -> None:
    opened = runs.client()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, text in (
            {f"{one.name}.html": page.render_picture(one) for one in pictures} | (texts or {})
        ).items():
            (folder / name).write_text(text, encoding="utf-8")
        for one in pictures:
            (folder / f"{one.name}.png").write_bytes(one.png())
        with runs.service():
            for run_id in run_ids:
                opened.log_artifacts(run_id, temporary, FOLDER)
