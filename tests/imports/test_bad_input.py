"""What no log may look like: one line each on the command line, and nothing is registered."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.shell import Shell

DATA = Path(__file__).parents[1] / "data" / "imports"
CAPITALS = next((DATA / "lm_eval_rtn").glob("samples_capitals*")).read_text()
PLAIN = {"task": "arc", "id": 1, "input": "6 * 7?", "score": 1}
PROBLEM = {"problem_idx": 0, "prompt": "6 * 7?", "reward": 1.0}
INSTANCE = {
    "schema_version": "0.3.0",
    "model_id": "m",
    "evaluation_name": "arc",
    "sample_id": "1",
    "interaction_type": "single_turn",
    "input": {"raw": "6 * 7?", "reference": ["42"]},
    "evaluation": {"score": 1.0, "is_correct": True},
}


def first_line(**fields: Any) -> Callable[[str], str]:
    def edit(text: str) -> str:
        first, *rest = text.splitlines()
        return "\n".join([json.dumps(json.loads(first) | fields), *rest])

    return edit


def whole(**fields: Any) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | fields)


def samples(edit: Callable[[dict[str, Any]], None]) -> Callable[[str], str]:
    def changed(text: str) -> str:
        data = json.loads(text)
        edit(data["samples"][0])
        return json.dumps(data)

    return changed


@pytest.mark.parametrize(
    ("pattern", "edit", "message"),
    [
        ("samples_sums*", lambda text: CAPITALS, "has other documents or prompts than the results"),
        ("samples_sums*", lambda text: text[: len(text) // 2], "not valid JSON"),
        ("samples_sums*", lambda text: "", "has 0 documents, but the results are of 20"),
        ("samples_sums*", first_line(doc_id=None), "line 1: it has no doc_id"),
        ("samples_sums*", first_line(doc_id=1), "doc_id 1, filter strict of sums is there twice"),
        ("samples_sums*", first_line(exact_match=float("nan")), "NaN is not a finite number"),
        ("samples_sums*", first_line(exact_match=float("inf")), "Infinity is not a finite number"),
        ("samples_sums*", first_line(metrics=3), "is not a log as lm-eval writes it"),
        ("samples_sums*", lambda text: "[1]", "line 1: not an object"),
        ("samples_sums*", lambda text: text.replace("doc_hash", "x"), "Needs lm-eval 0.4.3"),
        ("results*", whole(configs=["sums"]), "is not a results file of lm-evaluation-harness"),
        ("results*", whole(results=["sums"]), "is not a log as lm-eval writes it"),
        ("results*", whole(configs={"arc": {}}), "has results of arc, but there is no samples_arc"),
        ("results*", lambda text: text.replace("0.3", "NaN", 1), "NaN is not a finite number"),
    ],
)
def test_lm_eval(tmp_path: Path, pattern: str, edit: Any, message: str) -> None:
    shutil.copytree(DATA / "lm_eval_dense", tmp_path / "a")
    shutil.copytree(DATA / "lm_eval_rtn", tmp_path / "b")
    [file] = (tmp_path / "b").glob(pattern)
    file.write_text(edit(file.read_text()))
    assert re.search(message, Shell(tmp_path).refused("import", "lm-eval", "a", "b"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (whole(status="started"), "is of a run that ended as 'started'"),
        (whole(status="cancelled"), "is of a run that ended as 'cancelled'"),
        (whole(eval=None), "is not a log of inspect_ai|inspect_ai can read"),
        (whole(samples=[]), "no samples"),
        (whole(samples=[3]), "is not a log as inspect writes it|inspect_ai can read"),
        (lambda text: text[:2000], "not valid JSON|inspect_ai can read"),
        (samples(lambda one: one.update(id=None)), "no id|inspect_ai can read"),
        (samples(lambda one: one.update(id=2)), "id 2, epoch 1 of sums is there twice"),
        (
            samples(lambda one: one["scores"]["match"].update(value=float("nan"))),
            "NaN is not|'nan' is not a finite number",
        ),
    ],
)
def test_inspect(tmp_path: Path, edit: Any, message: str) -> None:
    for side, name in (("a", "inspect_dense"), ("b", "inspect_rtn")):
        shutil.copy(DATA / name / "sums.json", tmp_path / f"{side}.json")
    (tmp_path / "b.json").write_text(edit((tmp_path / "b.json").read_text()))
    assert re.search(message, Shell(tmp_path).refused("import", "inspect", "a.json", "b.json"))


@pytest.mark.parametrize(
    ("name", "row", "wrong", "message"),
    [
        ("jsonl", PLAIN, {"score": float("inf")}, "Infinity is not a finite number"),
        ("jsonl", PLAIN, {"score": [1]}, "is not a finite number"),
        ("jsonl", PLAIN, {}, "id 1, repeat 0 of arc is there twice, first as row 1"),
        ("jsonl", PLAIN, {"id": None}, "line 2: it has no id"),
        ("jsonl", PLAIN, {"id": 2, "task": "x" * 300}, "the name of score of x+ is too long"),
        ("nemo-evaluator", PROBLEM, {}, "problem_idx 0, repeat 0 of . is there twice"),
        ("nemo-evaluator", PROBLEM, {"problem_idx": None}, "line 2: it has no problem_idx"),
        ("nemo-evaluator", PROBLEM, {"problem_idx": [2]}, "is not a log as nemo-evaluator writes"),
        ("nemo-evaluator", PROBLEM, {"repeat": "x"}, "'x' is not a finite number"),
        ("every-eval-ever", INSTANCE, {}, "sample_id 1, metric score of arc is there twice"),
        ("every-eval-ever", INSTANCE, {"sample_id": None}, "field 'sample_id"),
        ("every-eval-ever", INSTANCE, {"schema_version": "0.4.0"}, "field 'schema_version'"),
        ("every-eval-ever", INSTANCE, {"input": {"reference": []}}, "field 'input.raw'"),
        ("lm-evil", PLAIN, {}, "Unknown format 'lm-evil'. Did you mean 'lm-eval'"),
    ],
)
def test_lines(tmp_path: Path, name: str, row: Any, wrong: Any, message: str) -> None:
    for side, rows in (("a", [row]), ("b", [row, row | wrong])):
        (tmp_path / side).mkdir()
        (tmp_path / side / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    files = [str(tmp_path / side / "results.jsonl") for side in ("a", "b")]
    assert re.search(message, Shell(tmp_path).refused("import", name, *files))
