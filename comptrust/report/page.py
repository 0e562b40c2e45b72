"""The page: all figures in one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from comptrust.report import card, curve, drawing, forest, heatmap, leaderboard, tradeoff
from comptrust.report.base import Entry, dense_groups, escape, fold

STYLE, SCRIPT = Path(__file__).with_name("page.css"), Path(__file__).with_name("page.js")


@dataclass(frozen=True)
class Family:
    """The figures of one dense source and what was made of it."""

    entries: tuple[Entry, ...]
    pictures: tuple[drawing.Picture, ...]


def families(
    entries: Sequence[Entry], *, smaller: dict[str, str] | None = None
) -> tuple[Family, ...]:
    """Return the figures per dense source. `smaller` names, per source, the smaller dense model to
    compare with.
    """
    groups, named = fold(entries), smaller or {}
    found = []
    for dense in dense_groups(groups):
        about = tuple(
            entry
            for group in groups
            if group.first.family == dense.first.family
            for entry in group.entries
        )
        drawn = (
            heatmap.picture(groups, dense=dense, smaller=named),
            curve.picture(groups, dense=dense, smaller=named),
            tradeoff.picture(groups, dense=dense),
        )
        found.append(Family(about, tuple(one for one in drawn if one is not None)))
    return tuple(found)


def own_pictures(entry: Entry) -> tuple[drawing.Picture, ...]:
    """Return the figures about one version alone."""
    return tuple(filter(None, [forest.picture(entry)]))


def render(entries: Sequence[Entry], found: Sequence[Family]) -> str:
    """Return the whole report of the entries and their families' figures."""
    groups = fold(entries)
    cards = "".join(
        card.verdict_card(entry)
        for group in groups
        for entry in group.entries
        if entry.verdict is not None
    )
    sections = {
        "Leaderboard": leaderboard.render(groups),
        "Difference to the dense source at about half its size": _section(found, "heatmap"),
        "Score against bits": _section(found, "curves"),
        "Size against worst drop": _section(found, "tradeoff"),
        "Verdicts": cards or "<p>No version has been judged.</p>",
    }
    links = "".join(
        f'<li><a href="#part-{number}">{title}</a></li>' for number, title in enumerate(sections)
    )
    parts = enumerate(sections.items())
    text = "".join(
        f'<section id="part-{number}"><h2>{title}</h2>{content}</section>'
        for number, (title, content) in parts
    )
    script = SCRIPT.read_text(encoding="utf-8")
    return _page(
        "comptrust report",
        f"<h1>comptrust report</h1><nav><ul>{links}</ul></nav>{text}<script>{script}</script>",
    )


def render_card(entry: Entry) -> str:
    """Return one version's verdict card as a page of its own."""
    return _page(f"comptrust: {entry.name}", card.verdict_card(entry, opened=True))


def render_picture(picture: drawing.Picture) -> str:
    """Return one figure as a page of its own."""
    title = f"{picture.family}: {picture.title}"
    return _page(title, f"<h1>{escape(title)}</h1>{picture.notes}{picture.html}")


def _section(found: Sequence[Family], name: str) -> str:
    shown = [picture for family in found for picture in family.pictures if picture.name == name]
    if not shown:
        return "<p>There is no compressed version beside its dense source to show here.</p>"
    return shown[0].notes + "".join(
        f"<h3>{escape(picture.family)}</h3>{picture.html}" for picture in shown
    )


def _page(title: str, body: str) -> str:
    head = (
        '<meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
    )
    style = STYLE.read_text(encoding="utf-8")
    return (
        "<!doctype html><html"
        f' lang="en"><head>{head}<style>{style}</style></head><body>{body}</body></html>'
    )
