"""Text and markup that the figures and cards share: numbers, escaping, HTML and Markdown tables."""

import html
import re
from collections.abc import Iterable, Sequence

NOT_MEASURED = "–"
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
"""Control characters and marks of direction, as in answers.js."""


def number(value: float | None, *, sign: bool = False) -> str:
    """Format a number with one decimal; None, not measured, is a dash."""
    return NOT_MEASURED if value is None else f"{value:{'+' if sign else ''}.1f}"


def percent(share: float | None) -> str:
    """Format a share as whole percent; None, not known, is a dash."""
    return NOT_MEASURED if share is None else f"{100 * share:.0f}%"


def spaced(name: str) -> str:
    """Return the name of a dimension or a rule with spaces."""
    return name.replace("_", " ")


def narrow_heading(dimension: str) -> str:
    """Return a dimension's name for a narrow column, with soft hyphens where it may break."""
    breaks = {
        "stereotype": "stereo\u00adtype",
        "robustness": "robust\u00adness",
        "demonstration": "demon\u00adstration",
    }
    return " ".join(breaks.get(word, word) for word in dimension.split("_"))


def escape(value: object) -> str:
    """Make a value safe inside HTML text and attributes."""
    return html.escape(str(value), quote=True)


def visible(text: str) -> str:
    """Return a text in which characters that hide or reorder others are shown by their number."""
    return HIDDEN.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text.replace("\r\n", "\n"))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose cells cannot contain markup."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_markdown_cell, line))} |\n" for line in lines)


def _markdown_cell(text: str) -> str:
    # Texts can come from a policy, a waiver or a file name, so they may try to add markup.
    return " ".join(text.split()).replace("|", "/").replace("<", "&lt;")
