"""NeMo Evaluator's results.jsonl and Every Eval Ever's instances, as documented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comptrust.errors import UserError
from comptrust.imports.formats.every_eval_ever import EveryEvalEver
from comptrust.imports.formats.nemo_evaluator import NemoEvaluator

PROBLEM = {
    "problem_idx": 0,
    "prompt": "6 * 7?",
    "reward": 1.0,
    "repeat": 0,
    "expected_answer": "42",
    "model_response": "The answer is 42.",
    "metadata": {"category": "arithmetic"},
}
INSTANCE = {
    "schema_version": "instance_level_eval_0.2.0",
    "evaluation_id": "gsm8k/model/1",
    "model_id": "org/model",
    "evaluation_name": "gsm8k",
    "sample_id": "gsm8k_0001",
    "interaction_type": "single_turn",
    "input": {"raw": "6 * 7?", "reference": "42"},
    "output": {"raw": "The answer is 42."},
    "answer_attribution": [],
    "evaluation": {"score": 1.0, "is_correct": True},
}


def read(reader: Any, path: Path, *rows: dict[str, Any], cluster: str | None = None) -> Any:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return reader().read(path, cluster=cluster)


def test_nemo_evaluator(tmp_path: Path) -> None:
    path = tmp_path / "gsm8k" / "results.jsonl"
    log = read(
        NemoEvaluator, path, PROBLEM, PROBLEM | {"repeat": 1, "reward": 0}, cluster="category"
    )
    first, second = log.rows
    assert (first.task, first.scores, first.cluster) == ("gsm8k", {"reward": 1.0}, "arithmetic")
    assert first.document == second.document


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": ""}, "line 2: it has no prompt. problem_idx alone does not show"),
        ({"reward": "good"}, "line 2: 'good' is not a finite number"),
        ({"repeat": 0}, "line 2: problem 0, repeat 0, as on .*line 1"),
    ],
)
def test_bad_problems(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(
            NemoEvaluator, tmp_path / "x" / "results.jsonl", PROBLEM, PROBLEM | {"repeat": 1} | row
        )


def test_an_index_does_not_identify_a_problem(tmp_path: Path) -> None:
    other = PROBLEM | {"prompt": "6 * 8?", "expected_answer": "48"}
    logs = [
        read(NemoEvaluator, tmp_path / name / "results.jsonl", row)
        for name, row in (("a", PROBLEM), ("b", other))
    ]
    assert logs[0].rows[0].document != logs[1].rows[0].document


def test_every_eval_ever(tmp_path: Path) -> None:
    path = tmp_path / "instances.jsonl"
    [row] = read(EveryEvalEver, path, INSTANCE).rows
    assert (row.task, row.scores, row.text) == ("gsm8k", {"score": 1.0}, "The answer is 42.")
    with pytest.raises(UserError, match="line 2: sample gsm8k_0001 of gsm8k, as on"):
        read(EveryEvalEver, path, INSTANCE, INSTANCE)
    with pytest.raises(UserError, match=r"line 1.*evaluation"):
        read(EveryEvalEver, path, INSTANCE | {"evaluation": {}})
