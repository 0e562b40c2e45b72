"""Drawing with matplotlib: canvas, styles, and figures saved as SVG in the page or as PNG files."""

import functools
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import matplotlib
from matplotlib.figure import Figure

from comptrust.report.markup import escape

T = TypeVar("T")
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
"""Text stays text in SVG; the salt makes equal figures equal files."""
GENERATED_IDS = re.compile(
    r' id="(?:figure|axes|patch|text|line2d|matplotlib\.\w+|PathCollection|LineCollection|'
    r'xtick|ytick)_\d+"'
)

HINT = "hint: "
"""The gid of an artist that `svg` gives a tooltip starts with this; the rest is the tooltip."""
HINTS = re.compile(r"""<g id=(["'])hint: (.*?)\1>""", re.DOTALL)


@dataclass(frozen=True)
class Style:
    """How a method is drawn: by color and by shape, so that color alone never matters."""

    color: str
    marker: str
    glyph: str
    """The shape as a character, for legends in text."""


METHODS = {
    "awq": Style("#0072B2", "o", "●"),
    "gptq": Style("#D55E00", "s", "■"),
    "magnitude": Style("#009E73", "^", "▲"),
    "rtn": Style("#000000", "X", "✖"),
    "sparsegpt": Style("#CC79A7", "D", "◆"),
    "wanda": Style("#E69F00", "v", "▼"),
}
"""The palette of Okabe and Ito, distinguishable with any common color blindness."""
OTHERS = (Style("#56B4E9", "P", "✚"), Style("#999999", "*", "★"))


@dataclass(frozen=True)
class Picture:
    """One figure, as HTML and as PNG."""

    name: str
    """Name of the files, without suffix."""
    family: str
    """The dense source and suite, or the version, that it is about."""
    title: str
    notes: str
    """How to read any figure of this name, as HTML."""
    html: str
    """The figure as SVG or table, with its content as text."""
    draw: Callable[[str], bytes]
    """Draws it as a PNG image below a title."""

    @property
    def heading(self) -> str:
        """What the figure is about, in one line."""
        return f"{self.family}: {self.title}"

    def png(self) -> bytes:
        """Draw it as a PNG image."""
        return self.draw(self.heading)


def picture(
    drawn: Sequence[T],
    *,
    name: str,
    family: str,
    title: str,
    notes: str = "",
    html: Callable[[Sequence[T]], str],
    png: Callable[[Sequence[T], str], bytes],
) -> Picture | None:
    """Return the picture of what is to be drawn, in HTML and as PNG; None if that is nothing."""
    if not drawn:
        return None
    return Picture(name, family, title, notes, html(drawn), functools.partial(png, drawn))


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """Return a style per method, the same in every figure; unknown ones share those that remain."""
    others = sorted(set(methods) - METHODS.keys())
    return {
        name: METHODS[name] if name in METHODS else OTHERS[others.index(name) % len(OTHERS)]
        for name in sorted(set(methods))
    }


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure, sized in CSS pixels, to draw and save within the block."""
    with matplotlib.rc_context(SETTINGS):  # type: ignore[arg-type]
        yield Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)


def svg(figure: Figure, *, alternative: str) -> str:
    """Return the figure as an SVG element; `alternative` is the text for screen readers."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue().decode()
    # Drop the XML prolog, generated ids (they would collide on one page) and the fixed size.
    text = GENERATED_IDS.sub("", text[text.index("<svg") :])
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = text.replace("<svg", f'<svg role="img" aria-label="{escape(alternative)}"', 1)
    text = HINTS.sub(r"<g><title>\2</title>", text)  # matplotlib has escaped its markup
    return re.sub(r"\n\s*", "\n", text).strip()


def png(figure: Figure, *, dots_per_inch: float = 0) -> bytes:
    """Return the figure as a PNG image, by default sharp enough for slides."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch or PNG_DOTS_PER_INCH)
    return buffer.getvalue()
