"""NeMo Evaluator's results.jsonl and Every Eval Ever's instances, as documented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from comptrust.errors import UserError
from comptrust.imports import pairing
from comptrust.imports.formats import every_eval_ever
from comptrust.imports.formats.every_eval_ever import EveryEvalEver
from comptrust.imports.formats.lm_eval import LmEval
from comptrust.imports.formats.nemo_evaluator import NemoEvaluator
from comptrust.tracking import evaluations
from tests.support.shell import Shell

DATA = Path(__file__).parents[1] / "data"

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
    "details",
    [{"scoring_details": {"error": "timeout"}}, {"scoring_details": {"judge": {"error": "none"}}}],
)
def test_a_failed_request_is_not_a_wrong_answer(tmp_path: Path, details: dict[str, Any]) -> None:
    log = read(NemoEvaluator, tmp_path / "x" / "results.jsonl", PROBLEM | details | {"reward": 0.0})
    assert log.rows[0].scores == {"reward": None}


def test_the_bundle_says_what_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "x" / "results.jsonl"
    bundle = {"benchmark": {"name": "gsm8k", "samples": 1}, "config": {"temperature": 0.7}}
    path.parent.mkdir()
    (path.parent / "eval-1-gsm8k.json").write_text(json.dumps(bundle))
    log = read(NemoEvaluator, path, PROBLEM)
    assert (log.rows[0].task, log.protocol) == ("gsm8k", {"gsm8k temperature": "0.7"})
    with pytest.raises(UserError, match="has 2 problems, but its bundle is of 1"):
        read(NemoEvaluator, path, PROBLEM, PROBLEM | {"problem_idx": 1})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": ""}, "line 2: it has no prompt. problem_idx alone does not show"),
        ({"reward": "good"}, "line 2: 'good' is not a finite number"),
        ({"repeat": 0}, "line 2: problem_idx 0, repeat 0 of x is there twice, first as row 1"),
        ({"problem_idx": None}, "line 2: it has no problem_idx"),
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
    with pytest.raises(UserError, match="line 2: sample_id gsm8k_0001, metric score of gsm8k is"):
        read(EveryEvalEver, path, INSTANCE, INSTANCE)
    with pytest.raises(UserError, match=r"line 1: field 'schema_version'"):
        read(EveryEvalEver, path, INSTANCE | {"schema_version": "1.0.0"})
    listed = INSTANCE | {"input": {"raw": "6 * 7?", "reference": ["42"]}, "error": "timeout"}
    [other] = read(EveryEvalEver, path, listed | {"evaluation_result_id": "gsm8k::em"}).rows
    assert (other.document, other.scores) == (row.document, {"gsm8k::em": None})
    with pytest.raises(UserError, match=r"line 1.*evaluation"):
        read(EveryEvalEver, path, INSTANCE | {"evaluation": {}})


def schema(name: str) -> Draft7Validator:
    return Draft7Validator(
        json.loads((DATA / "every_eval_ever" / f"{name}.schema.json").read_text())
    )


def test_what_is_written_is_valid_and_gives_the_same_scores(tmp_path: Path) -> None:
    logs = {
        side: LmEval().read(DATA / "imports" / name, cluster=None)
        for side, name in (("dense", "lm_eval_dense"), ("candidate", "lm_eval_rtn"))
    }
    pairing.write(logs, out=tmp_path / "pair")
    sides = [f"pair/{side}/scorecard.json" for side in ("dense", "candidate")]
    assert Shell(tmp_path)("compare", *sides, "--every-eval-ever", "shared").code == 0
    shared = {
        side: tmp_path / "shared" / name for side, name in (("dense", "a"), ("candidate", "b"))
    }
    whole, instance = schema("eval"), schema("instance_level_eval")
    for folder in shared.values():
        whole.validate(json.loads((folder / "evaluation.json").read_text()))
        for line in (folder / "samples.jsonl").read_text().splitlines():
            instance.validate(json.loads(line))
    again = {side: EveryEvalEver().read(folder, cluster=None) for side, folder in shared.items()}
    paired = pairing.write(again, out=tmp_path / "again")
    assert paired.notes == ()
    for side, folder in paired.folders.items():
        before = evaluations.load(str(tmp_path / "pair" / side)).scorecard
        after = evaluations.load(str(folder)).scorecard
        for score in before.scores:
            read_again = after[f"every-eval-ever/{score.dimension}/score"]
            assert read_again.value == pytest.approx(score.value, abs=1e-9)


def test_our_own_suites_are_written(tmp_path: Path) -> None:
    evaluation = evaluations.load(str(DATA / "release-0.1.0" / "candidate"))
    every_eval_ever.write(evaluation, tmp_path)
    about = json.loads((tmp_path / "evaluation.json").read_text())
    schema("eval").validate(about)
    scores = {
        one["evaluation_name"]: one["score_details"]["score"] for one in about["evaluation_results"]
    }
    assert scores == {
        one.dimension: one.value for one in evaluation.scorecard.scores if one.value is not None
    }
    # No single answer earns a share of fairness.
    tasks = {row.task for row in EveryEvalEver().read(tmp_path, cluster="cluster").rows}
    assert tasks == set(evaluation.generations) - {"fairness"}
