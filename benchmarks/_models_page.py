"""The page that `benchmarks.models` writes: two matrices, with each refusal as a numbered note."""

from __future__ import annotations

import re
import textwrap
from functools import partial
from pathlib import Path

from tests.support.families import FAMILIES

INTRODUCTION = """# Models: what works and what is refused

Made by `python -m benchmarks.models OUT.json --write docs/models.md`, from tiny random models
(two layers, 128 wide) on a CPU. Each cell is one run of the command line in a process of its own.

- **exact**: six greedy texts of 12 tokens equal those of `generate` of plain transformers on the
  same weights. A figure such as `5 of 6` says how many did where activations are rounded: there,
  logits of plain transformers differ with and without a cache, and none of our tokens was further
  below the largest logit than 0.3 or twice that difference.
- **A percentage** is the share of the language model's matrices, by weights, that the files hold
  packed or half empty, counted from the headers alone. Blocks of Mllama that read images, which
  text never reaches, stay dense.
- **refused (N)**: one line, exit 2, before any weights are compressed; the note has the line.
  **failed**: one line, exit 4. **late**: the refusal came after weights were read.
- **not run**: no result; the run was ended before. So are families of `tests/support/families.py`
  that have no row.

## Families and methods

"""
LAYOUTS = """
## Published layouts

Most are a random Llama in the layout, packed by `tests/support/published.py` with numpy; the number
after *exact* is the largest difference of a logit from what the packed numbers stand for.
`register` is `comptrust register FOLDER --base DENSE`: the recipe that the files state, and the
bits of a weight with its share of scales and zero points. Layouts that need a package are named
over dense weights.

"""


def page(cells: dict[str, str], methods: list[str]) -> str:
    """Return the page; `cells` has "family NAME METHOD" and "layout NAME COMMAND"."""
    notes: dict[str, int] = {}
    commands = ["evaluate", "register"]
    families = _matrix(cells, "family", methods, notes)
    layouts = _matrix(cells, "layout", commands, notes)
    wrapped = partial(
        textwrap.fill,
        width=100,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    listed = "\n".join(wrapped(f"{number}. {text}") for text, number in notes.items())
    return f"{INTRODUCTION}{families}{LAYOUTS}{layouts}\n## Notes\n\n{listed}\n"


def read(path: Path) -> dict[str, str]:
    """Return the cells of a page that `page` wrote; none if there is no such file."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    _, _, listed = text.partition("## Notes")
    notes = {
        number: " ".join(note.split())
        for number, note in re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |\Z)", listed, re.M | re.S)
    }
    cells: dict[str, str] = {}
    kind, columns = "", [""]
    for line in text.splitlines():
        name, *results = line.strip("| ").split(" | ")
        if name in ("family", "layout"):
            kind, columns = name, results
        elif line.startswith("| `"):
            for column, result in zip(columns, results, strict=True):
                noted = re.fullmatch(r"(.*) \((\d+)\)", result)
                full = f"{noted[1]}: {notes[noted[2]]}" if noted else result
                cells[f"{kind} {name.strip('`')} {column}"] = full
    return {key: result for key, result in cells.items() if result != "not run"}


def _matrix(cells: dict[str, str], kind: str, columns: list[str], notes: dict[str, int]) -> str:
    rows: dict[str, list[str]] = {}
    for key in cells:
        for column in columns:
            name = key.removeprefix(f"{kind} ").removesuffix(f" {column}")
            if key == f"{kind} {name} {column}":
                rows[name] = []
    if kind == "family":
        rows |= {name: [] for name in FAMILIES}
    lines = [[kind, *columns], ["---"] * (len(columns) + 1)]
    for name in rows:
        results = [cells.get(f"{kind} {name} {column}", "not run") for column in columns]
        lines.append(
            [
                f"`{name}`",
                *(_short(result, name if kind == "family" else "", notes) for result in results),
            ]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _short(result: str, name: str, notes: dict[str, int]) -> str:
    """Return a cell, with the reason of a refusal as a note."""
    head, colon, reason = result.partition(": ")
    if not colon:
        return result
    text = re.sub(r"\w+(For(CausalLM|ConditionalGeneration)|LMHeadModel)\b", "FAMILY", reason)
    text = re.sub(r"(?<= as )(FP8_DYNAMIC|W8A8|NVFP4)(?= says)", "METHOD", text)
    if name:
        text = re.sub(rf"(?<=\s){re.escape(name)}(?=[\s.:])", "FAMILY", text)
    text = " ".join(text.replace("<", "&lt;").replace("`", "").split())
    return f"{head} ({notes.setdefault(text, len(notes) + 1)})"
