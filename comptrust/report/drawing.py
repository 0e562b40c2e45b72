"""Drawing: the one place that knows matplotlib. A figure becomes SVG inside the page and PNG beside
it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from comptrust.report.base import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, RED, GRAY, INK = "#0072B2", "#B2182B", "#767676", "#222222"
DOTS_PER_INCH = 100
PNG_DOTS_PER_INCH = 150
SETTINGS = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "comptrust",
}


class Style(NamedTuple):
    """How a method is drawn: a color and a shape, so that color alone never carries the
    meaning."""

    color: str
    marker: str
    glyph: str
    """The shape as a character, for legends in text."""


METHODS = {
    "awq": Style("#0072B2", "o", "●"),
    "gptq": Style("#D55E00", "s", "■"),
    "magnitude": Style("#009E73", "^", "▲"),
    "sparsegpt": Style("#CC79A7", "D", "◆"),
    "wanda": Style("#E69F00", "v", "▼"),
}
"""Okabe and Ito's colors, told apart under every common color blindness."""
OTHERS = (Style("#56B4E9", "P", "✚"), Style("#000000", "X", "✖"))


@dataclass(frozen=True)
class Picture:
    """One figure in both of its forms."""

    name: str
    """Name of the files, without suffix."""
    family: str
    """The dense source and the suite that it is about, or the version."""
    title: str
    """What it shows."""
    notes: str
    """How to read every figure of this name, as HTML."""
    html: str
    """The figure as SVG or table, with what says it in words."""
    png: Callable[[], bytes]
    """Draw it as an image."""


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """Return a style per method, the same in every figure; methods of other plug-ins share the
    remaining ones.
    """
    others = sorted(set(methods) - METHODS.keys())
    return {
        name: METHODS[name] if name in METHODS else OTHERS[others.index(name) % len(OTHERS)]
        for name in sorted(set(methods))
    }


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """Give an empty figure of so many CSS pixels, to be drawn and saved within the block."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):  # type: ignore[arg-type]
        yield Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)


def svg(figure: Figure, *, alternative: str, hints: Mapping[str, str] | None = None) -> str:
    """Return the figure as an SVG element that grows and shrinks with the page.

    `alternative` says it to those who do not see it; `hints` is gid of an artist -> text shown when
    the mouse rests on it.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(
        r' id="(?:figure|axes|patch|text|line2d|matplotlib\.\w+|PathCollection|LineCollection|'
        r'xtick|ytick)_\d+"',
        "",
        text,
    )
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = text.replace("<svg", f'<svg role="img" aria-label="{escape(alternative)}"', 1)
    for gid, hint in (hints or {}).items():
        text = text.replace(f'<g id="{gid}">', f"<g><title>{escape(hint)}</title>")
    return re.sub(r"\n\s*", "\n", text).strip()


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG image, sharp enough for a slide."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PNG_DOTS_PER_INCH)
    return buffer.getvalue()
