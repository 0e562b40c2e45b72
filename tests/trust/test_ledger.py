"""Kept answers count only with the mark of the key that is at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.records import Generation, Prompt
from comptrust.trust import ledger
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.ledger import Ledger
from comptrust.trust.run import evaluate
from tests.support.echo import Echo
from tests.support.questions import suite


class Counting(Echo):
    """Counts the prompts, and answers the last one first."""

    def __init__(self) -> None:
        super().__init__("A")
        self.asked = 0

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        self.asked += len(prompts)
        yield from super().answer(list(reversed(prompts)))


def answered(
    folder: Path, secret: bytes | None, *, seal: str = "", checkpoint: str = "c"
) -> tuple[int, list[str], Ledger, Evaluation]:
    """Evaluate and return how many prompts were asked, and what was said."""
    backend, lines, kept = Counting(), [], Ledger(secret, seal=seal)
    found = evaluate(
        backend,
        suite(n=4),
        out=folder,
        checkpoint_digest=checkpoint,
        ledger=kept,
        say=lines.append,
    )
    return backend.asked, lines, kept, found


def partial(folder: Path) -> Path:
    [path] = (folder / "generations").glob(".*.partial.jsonl")
    return path


N = len(suite(n=4).prompts)


def test_kept_answers_with_the_own_mark_count(tmp_path: Path) -> None:
    first = answered(tmp_path, b"k")
    again = answered(tmp_path, b"k")
    assert (first[0], again[0], again[1]) == (N, 0, [])
    assert again[2].order == first[2].order and again[2].began >= first[2].began - 1
    assert again[2].began < first[2].began + 1


@pytest.mark.parametrize("secret", [None, b"other"])
def test_answers_of_nobody_or_of_another_key_are_asked_for_again(
    tmp_path: Path, secret: bytes | None
) -> None:
    answered(tmp_path, secret)
    asked, lines, _, _ = answered(tmp_path, b"k")
    assert asked == N
    assert lines == [f"{N} kept answers not made with this signing key: asked for again"]
    assert answered(tmp_path, b"k")[:2] == (0, [])


def test_without_a_key_all_kept_answers_count(tmp_path: Path) -> None:
    answered(tmp_path, b"k")
    assert answered(tmp_path, None)[:2] == (0, [])


def test_an_edited_answer_is_asked_for_again(tmp_path: Path) -> None:
    _, _, _, before = answered(tmp_path, b"k")
    first, *rest = partial(tmp_path).read_text().splitlines(keepends=True)
    partial(tmp_path).write_text("".join([first.replace('["A"]', '["B"]'), *rest]))
    asked, lines, _, after = answered(tmp_path, b"k")
    assert asked == 1 and lines[0].startswith("1 kept answer ")
    assert after.generations == before.generations


def test_a_line_that_is_no_answer_only_matters_without_a_key(tmp_path: Path) -> None:
    answered(tmp_path, b"k")
    _, *rest = partial(tmp_path).read_text().splitlines(keepends=True)
    partial(tmp_path).write_text("".join(["{\tnan 00\n", *rest]))
    assert answered(tmp_path, b"k")[0] == 1
    with pytest.raises(UserError, match="line 1: not valid JSON"):
        answered(tmp_path, None)


def test_a_mark_is_for_one_model_suite_engine_and_seal(tmp_path: Path) -> None:
    answered(tmp_path / "a", b"k")
    answered(tmp_path / "b", b"k", checkpoint="d")
    partial(tmp_path / "b").write_text(partial(tmp_path / "a").read_text())
    assert answered(tmp_path / "b", b"k", checkpoint="d")[0] == N
    assert answered(tmp_path / "a", b"k", seal="s")[0] == N


def test_the_chain_follows_the_order_in_which_answers_came(tmp_path: Path) -> None:
    _, _, kept, found = answered(tmp_path, b"k")
    assert kept.order == {"mmlu": tuple(reversed(range(N)))}
    head = ledger.head(found.generations, kept.order)
    assert head != ledger.head(found.generations, {"mmlu": tuple(range(N))})
    rows = list(found.generations["mmlu"])
    for change in ({"texts": ("B",)}, {"id": "x"}, {"target": "Z"}, {"finish_reasons": ("stop",)}):
        other = [rows[0].model_copy(update=change), *rows[1:]]
        assert ledger.head({"mmlu": other}, kept.order) != head
    scored = [row.model_copy(update={"extra": row.extra | {"toxicity": [0.5]}}) for row in rows]
    assert ledger.head({"mmlu": scored}, kept.order) == head  # a classifier adds it afterwards


@pytest.mark.parametrize("order", [(), (0, 1, 2), (0, 1, 2, 4), (0, 1, 2, 3, 0), (0, 0, 1, 2)])
def test_an_order_that_is_none(tmp_path: Path, order: tuple[int, ...]) -> None:
    _, _, _, found = answered(tmp_path, b"k")
    with pytest.raises(UserError):
        ledger.head(found.generations, {"mmlu": order})


def test_a_line_is_an_answer_and_its_mark() -> None:
    kept = Ledger(b"k")
    kept.open({"suite": "s"})
    line = kept.marked(json.dumps({"text": "a\tb"}))
    text, _, mark = line.partition("\t")
    assert json.loads(text) == {"text": "a\tb"} and len(mark.split(" ")[1]) == 64
    assert kept.unmarked(line) == text
    assert kept.unmarked(line + " ") is None and kept.unmarked(text) is None
