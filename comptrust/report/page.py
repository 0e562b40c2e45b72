"""The pages: HTML files that load nothing else, written to disk or logged on runs."""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from comptrust.records import Prompt
from comptrust.report import (
    answers,
    card,
    curve,
    decisions,
    drawing,
    forest,
    heatmap,
    leaderboard,
    narrowing,
    skeleton,
    tradeoff,
)
from comptrust.report.base import ReportEntry, dense_groups, fold
from comptrust.report.entries import LOCAL_UI, read_run
from comptrust.report.markup import escape, percent
from comptrust.text_tables import counted
from comptrust.tracking import runs
from comptrust.trust.evaluation import Evaluation

SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
MAX_CARD_DATA = 600_000
"""Characters of packed answers that a card may hold; those of all of `mini` have 200,000."""


@dataclass(frozen=True)
class Family:
    """The figures of one dense source and its compressed versions."""

    entries: tuple[ReportEntry, ...]
    pictures: tuple[drawing.Picture, ...]


def families(
    entries: Sequence[ReportEntry], *, smaller: Mapping[str, str] | None = None
) -> tuple[Family, ...]:
    """Return the figures of each dense source, and of the smaller one that `smaller` names."""
    groups, smaller = fold(entries), smaller or {}
    result = []
    for dense in dense_groups(groups):
        members = [group for group in groups if group.first.family == dense.first.family]
        pictures = (
            heatmap.picture(groups, dense=dense, smaller=smaller),
            curve.picture(groups, dense=dense, smaller=smaller),
            tradeoff.picture(groups, dense=dense),
        )
        member_entries = tuple(entry for group in members for entry in group.entries)
        result.append(Family(member_entries, tuple(filter(None, pictures))))
    return tuple(result)


def own_pictures(entry: ReportEntry) -> tuple[drawing.Picture, ...]:
    """Return the figures about one version alone."""
    return tuple(filter(None, [forest.picture(entry), narrowing.picture(entry)]))


def render(
    entries: Sequence[ReportEntry],
    families: Sequence[Family],
    *,
    viewers: Mapping[str, str] | None = None,
    searches: Markup | None = None,
    texts: bool = True,
) -> str:
    """Return the whole report about entries and the figures of their families.

    `searches` shows those for the smallest model, if there were any.

    `viewers` has the address of the page of answers of each run that has one. Without `texts` the
    cards show no prompts and answers.
    """
    sections = {
        "leaderboard-of-all": ("Leaderboard", leaderboard.render(fold(entries))),
        "heatmap": ("Points lost at about half of the size", _section(families, "heatmap")),
        "curves": ("Score against bits", _section(families, "curves")),
        "tradeoff": ("Size against points lost", _section(families, "tradeoff")),
    }
    if searches:
        sections["searches"] = ("Searches for the smallest model", searches)
    body = decisions.render(entries, viewers=viewers or {}, texts=texts)
    for name, (title, content) in sections.items():
        body += Markup(f'<section id="{name}"><h2>{title}</h2>{content}</section>')
    titles = {name: title for name, (title, _) in sections.items()}
    dates = sorted(entry.date for entry in entries if entry.date)
    servers = sorted({entry.link.partition("/#/")[0] for entry in entries if entry.link})
    models = sorted({entry.model for entry in entries if entry.source == "own"})
    return skeleton.page(
        "comptrust report",
        body,
        heading="What was decided",
        facts={
            "models": ", ".join(models),
            "runs": str(len(entries)),
            "newest run": dates[-1] if dates else "",
            "links": ", ".join(map(_server, servers)),
        },
        sections={"decisions": "Decisions"} | titles,
        script=SCRIPT,
    )


def _server(address: str) -> str:
    return f"{address}, while `make ui` runs" if address == LOCAL_UI else address


def render_card(entry: ReportEntry) -> str:
    """Return one version's verdict card as a page of its own, with its answers if they are few.

    MLflow shows an artifact in a frame that no link can leave, so a link to answers.html would lead
    nowhere there; below the card, the answers are a click away.
    """
    is_small = 0 < len(entry.answers) <= MAX_CARD_DATA
    viewer = None if not entry.answers else "" if is_small else answers.PAGE
    body = card.content(entry, viewer=viewer)
    if is_small:
        body += Markup(f"<h2>All answers</h2>{answers.viewer(entry.answers)}")
    return skeleton.page(
        f"comptrust: {entry.name}",
        body,
        heading=f"{entry.model}, {entry.recipe_and_seed}",
        verdict=entry.verdict.outcome if entry.verdict else "",
        facts=_facts(entry),
    )


def _facts(entry: ReportEntry) -> dict[str, str]:
    size = "" if entry.bytes is None else f"{entry.bytes / 1e6:,.3g} MB"
    return {
        "policy": entry.verdict.policy if entry.verdict else "",
        "run": entry.name,
        "date": entry.date,
        "suite": entry.suite_label.removeprefix("suite "),
        "size": f"{size}, {percent(entry.share)} of dense" if size else "",
    }


def render_answers(data: str, *, title: str) -> str:
    """Return packed answers as a page of their own."""
    return skeleton.page(f"Answers: {title}", Markup(answers.viewer(data)), heading=title)


def write_answers(
    entries: Sequence[ReportEntry], *, beside: Path, texts: bool = True
) -> dict[str, str]:
    """Write a page of answers per run that logged one; return run id -> address in the report.

    Without `texts` the pages have the parsed answers only. A page that cannot be read is left out.
    """
    folder, addresses = beside.with_name(f"{beside.stem}_answers"), {}
    for entry in entries:
        data = entry.answers
        if data and not texts:
            unpacked = answers.unpack(data)
            data = answers.pack(unpacked.without_texts()) if unpacked else ""
        if data and entry.run_id:
            folder.mkdir(exist_ok=True)
            html = render_answers(data, title=f"{entry.model}, {entry.recipe}")
            (folder / f"{entry.run_id}.html").write_text(html, encoding="utf-8")
            addresses[entry.run_id] = f"{quote(folder.name)}/{entry.run_id}.html"
    return addresses


def render_picture(picture: drawing.Picture) -> str:
    """Return one figure as a page of its own."""
    return skeleton.page(picture.heading, Markup(f"{picture.notes}{picture.html}"))


def _section(families: Sequence[Family], name: str) -> str:
    pictures = [
        picture for family in families for picture in family.pictures if picture.name == name
    ]
    if not pictures:
        return "<p>Fewer than two versions to compare with a dense source.</p>"
    return pictures[0].notes + "".join(
        f"<h3>{escape(picture.family)}</h3>{picture.html}" for picture in pictures
    )


def log_answers(
    run_id: str, candidate: Evaluation, dense: Evaluation, *, prompts: Iterable[Prompt]
) -> None:
    """Log every prompt with the answers of both models, as a page to read and search."""
    recipe = candidate.recipe
    title = f"{recipe.base_model}, {recipe.slug}" if recipe else candidate.ref
    collected = answers.collect(candidate, dense, prompts=prompts, title=title)
    html = render_answers(answers.pack(collected), title=title)
    _log([run_id], (), {answers.PAGE: html})


def log_version(run_id: str) -> None:
    """Log a run's verdict card and the figures about this version alone, replacing older ones."""
    entry = read_run(run_id)
    _log([run_id], own_pictures(entry), {"card.html": render_card(entry)})


def log_families(families: Sequence[Family], *, say: Callable[[str], None]) -> None:
    """Log figures on the runs that they show; of a published table, on the dense source's alone."""
    for family in families:
        run_ids = [
            entry.run_id
            for entry in family.entries
            if entry.run_id and (entry.source == "own" or entry.method == "none")
        ]
        if family.pictures:
            _log(run_ids, family.pictures)
            names = ", ".join(picture.name for picture in family.pictures)
            say(f"{family.pictures[0].family}: {names} logged on {counted(len(run_ids), 'run')}")


@runs.service()
def log_page(path: Path) -> None:
    """Log a report on the run that `mlflow run` created for this process, if there is one."""
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        runs.client().log_artifact(run_id, str(path), answers.FOLDER)


def _log(
    run_ids: Iterable[str],
    pictures: Sequence[drawing.Picture],
    pages: Mapping[str, str] | None = None,
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, text in (pages or {}).items():
            (folder / name).write_text(text, encoding="utf-8")
        for picture in pictures:
            html = render_picture(picture)
            (folder / f"{picture.name}.html").write_text(html, encoding="utf-8")
            (folder / f"{picture.name}.png").write_bytes(picture.png())
        with runs.service():
            for run_id in run_ids:
                runs.client().log_artifacts(run_id, temporary, answers.FOLDER)
