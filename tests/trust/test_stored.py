"""Evaluations of stored answers: comparable only if the prompts are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.gate.evidence import differences
from comptrust.records import Generation
from comptrust.trust import stored
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.generations import write_generations


def row(number: int, text: str, **fields: object) -> Generation:
    values = {
        "dimension": "mmlu",
        "scenario": "anatomy",
        "id": f"q{number}",
        "texts": (text,),
        "target": "A",
    }
    return Generation(**(values | fields))  # type: ignore[arg-type]


def kept(folder: Path, *rows: Generation, name: str = "mmlu") -> Evaluation:
    write_generations(folder / f"{name}.jsonl", rows)
    return stored.keep([folder / f"{name}.jsonl"], out=folder / f"{name}-out", allow_partial=True)


def test_other_answers_to_the_same_prompts_are_comparable(tmp_path: Path) -> None:
    first = kept(tmp_path / "a", row(0, "A", extra={"loglik": {"A": -1}}), row(1, "A"))
    second = kept(tmp_path / "b", row(0, "B"), row(1, "A"))
    assert differences(first, second) == []
    assert first.scorecard.checkpoint_digest != second.scorecard.checkpoint_digest
    assert (first.scorecard["mmlu"].value, second.scorecard["mmlu"].value) == (100.0, 50.0)
    assert first.scorecard.engine == {}


@pytest.mark.parametrize("field", [{"target": "B"}, {"id": "other"}, {"extra": {"cluster": "x"}}])
def test_other_prompts_are_not(tmp_path: Path, field: dict[str, object]) -> None:
    first, second = kept(tmp_path / "a", row(0, "A")), kept(tmp_path / "b", row(0, "A", **field))
    assert differences(first, second) == ["suite_digest", "rendering_digest"]


def test_a_dimension_in_two_files_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_generations(tmp_path / f"{name}.jsonl", [row(0, "A")])
    with pytest.raises(UserError, match="so does an earlier file"):
        stored.keep([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    kept(tmp_path, row(0, "A"))
    with pytest.raises(UserError, match="is not an empty folder"):
        kept(tmp_path, row(0, "A"))
