"""The answers of two models to the same prompts, side by side, as data inside a page.

The data travels as compressed JSON in base64, so that no text can end the page's script or be read
as markup; the page's own script (answers.js) sets every text as text.
"""

from __future__ import annotations

import base64
import gzip
import math
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from comptrust.records import Generation, Message, Prompt, Record
from comptrust.trust import base, flips
from comptrust.trust.evaluation import Evaluation

FOLDER, PAGE = "report", "answers.html"
"""Artifact folder of all pages of a run, and the name of this one."""
VIEWER = Path(__file__).with_name("answers.html").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("answers.js").read_text(encoding="utf-8")
STYLE = Path(__file__).with_name("answers.css").read_text(encoding="utf-8")
DATA = re.compile(r'<script type="text/plain" id="answers">([A-Za-z0-9+/=]*)</script>')
TOTAL_CHARACTERS, LEAST, MOST = 100_000_000, 200, 20_000
"""Characters of a page's texts, and of one text: the more texts, the shorter each may be."""
MAX_BYTES = 1 << 30
"""Of a page's data once decompressed; a browser reads half as much."""


class Side(Record):
    """One model's answer."""

    texts: tuple[str, ...] = ()
    answer: str
    """The parsed answer."""
    refusal: float = 0.0
    """Share of the texts that are refusals, 0-1."""
    earned: float | None = None
    """What the answer earns of the prompt's share of the score, 0-1; None if not measured."""
    margin: float | None = None
    """Log-likelihood of the chosen option above the next one."""
    loglik: tuple[float, ...] = ()
    """Log-likelihood of each option."""
    withheld: str | None = None
    """Why the answer was not given."""


class Row(Record):
    """One prompt with both answers; a side is None if that model was not asked."""

    dimension: str
    scenario: str
    id: str
    group: str | None = None
    prompt: tuple[Message, ...] = ()
    options: tuple[str, ...] = ()
    target: str | int | None = None
    dense: Side | None
    compressed: Side | None


class Answers(Record):
    """All prompts of a comparison."""

    title: str
    """The compared models."""
    texts: bool = True
    """False if prompts, answers and targets were left out."""
    rows: tuple[Row, ...]

    def without_texts(self) -> Answers:
        """Return the answers as parsed only, without anything that was asked or written."""
        return Answers(title=self.title, texts=False, rows=tuple(map(_without_texts, self.rows)))


def _without_texts(row: Row) -> Row:
    sides = {
        name: side and side.model_copy(update={"texts": ()})
        for name, side in (("dense", row.dense), ("compressed", row.compressed))
    }
    return row.model_copy(update={"prompt": (), "options": (), "target": None} | sides)


def collect(
    candidate: Evaluation, dense: Evaluation, *, prompts: Iterable[Prompt], title: str
) -> Answers:
    """Return what both models answered, prompt by prompt, in the candidate's order.

    `prompts` supply the questions; a prompt that is not among them has none. Long texts are cut: of
    a prompt the end stays, where the question is, of an answer the beginning.
    """
    asked = {(prompt.dimension, prompt.id): prompt for prompt in prompts}
    generations = [
        generation
        for evaluation in (candidate, dense)
        for answers in evaluation.generations.values()
        for generation in answers
    ]
    n_texts = len(asked) + sum(len(generation.texts) for generation in generations)
    most = min(MOST, max(LEAST, TOTAL_CHARACTERS // max(1, n_texts)))
    sides = [
        {
            name: _sides(evaluation, name, most=most)
            for name in {**candidate.generations, **dense.generations}
        }
        for evaluation in (dense, candidate)
    ]
    first = {(generation.dimension, generation.id): generation for generation in generations}
    return Answers(
        title=title,
        rows=tuple(
            _row(
                generation,
                asked.get((dimension, key)),
                *(answers[dimension].get(key) for answers in sides),
                most=most,
            )
            for (dimension, key), generation in first.items()
        ),
    )


def _sides(evaluation: Evaluation, name: str, *, most: int) -> dict[str, Side]:
    table = evaluation.table(name)
    if table is None:
        return {}
    credits = flips.credits(base.get(name, scoring=evaluation.scoring), table)
    columns = zip(
        evaluation.generations[name],
        table.answer.tolist(),
        table.refusal.tolist(),
        credits.tolist(),
        strict=True,
    )
    return {
        generation.id: Side(
            texts=tuple(beginning(text, most) for text in generation.texts),
            answer=answer,
            refusal=0.0 if generation.withheld else refusal,
            earned=None if generation.withheld else _number(earned),
            margin=_number(generation.extra.get("margin")),
            loglik=_numbers(generation.extra.get("loglik")),
            withheld=generation.withheld,
        )
        for generation, answer, refusal, earned in columns
    }


def _row(
    generation: Generation,
    prompt: Prompt | None,
    dense: Side | None,
    compressed: Side | None,
    *,
    most: int,
) -> Row:
    messages = prompt.messages if prompt else ()
    if prompt and prompt.prefill:
        messages += (Message(role="assistant", content=prompt.prefill),)
    return Row(
        dimension=generation.dimension,
        scenario=generation.scenario,
        id=generation.id,
        group=flips.group(generation),
        prompt=tuple(
            Message(role=message.role, content=end(message.content, most)) for message in messages
        ),
        options=tuple(beginning(one.continuation, most) for one in prompt.choices)
        if prompt
        else (),
        target=generation.target,
        dense=dense,
        compressed=compressed,
    )


def _number(value: object) -> float | None:
    """Return a finite number, else None: JSON has no other."""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _numbers(values: object) -> tuple[float, ...]:
    numbers = [_number(value) for value in values] if isinstance(values, list) else []
    return tuple(number for number in numbers if number is not None)


def beginning(text: str, most: int) -> str:
    """Return a text, cut at its end if it is longer than `most` characters."""
    left_out = len(text) - most
    return text if left_out <= 0 else f"{text[:most]} … [{left_out:,} characters left out]"


def end(text: str, most: int) -> str:
    """Return a text, cut at its beginning if it is longer than `most` characters."""
    left_out = len(text) - most
    return text if left_out <= 0 else f"[{left_out:,} characters left out] … {text[-most:]}"


def pack(answers: Answers) -> str:
    """Return the data for a page; equal answers give equal data."""
    content = answers.model_dump_json(exclude_defaults=True).encode()
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def unpack(data: str) -> Answers | None:
    """Return the answers in a page's data; None if they cannot be read."""
    try:
        stream = zlib.decompressobj(wbits=31)
        content = stream.decompress(base64.b64decode(data), MAX_BYTES)
        return Answers.model_validate_json(content)
    except (ValueError, zlib.error, ValidationError):
        return None


def find(html: str) -> str:
    """Return the data in a page; empty if it has none."""
    match = DATA.search(html)
    return match[1] if match else ""


def viewer(data: str) -> str:
    """Return the viewer of packed answers as a part of a page."""
    return (
        f"<style>{STYLE}</style>{VIEWER}"
        f'<script type="text/plain" id="answers">{data}</script><script>{SCRIPT}</script>'
    )


def address(row: Mapping[str, str]) -> str:
    """Return the part of a link, after the page, that opens a flipped answer in the viewer."""
    place = f"{row.get('dimension', '')}/{row.get('id', '')}"
    return f"#prompt={quote(place, safe='/')}"
