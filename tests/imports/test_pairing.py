"""Pairs are documents asked alike: whatever one log lacks is not measured, and never passes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from comptrust import api, config
from comptrust.errors import UserError
from comptrust.gate import pins
from comptrust.imports import pairing
from comptrust.imports.formats.jsonl import Jsonl
from comptrust.imports.pairing import Paired, Scale
from comptrust.records import SuiteManifest, Verdict
from comptrust.tracking import evaluations
from comptrust.trust import imported

POLICY = """\
name: imported
dense: declared
stages: false
rules:
  - {rule: complete, dimensions: ["jsonl/*"]}
  - {rule: max_drop, points: 5, dimensions: ["jsonl/*"]}
"""


def rows(n: int = 200, *, wrong: Iterable[int] = (), **fields: Any) -> list[dict[str, Any]]:
    return [
        {"task": "arc", "id": i, "input": f"Question {i}?", "score": int(i not in set(wrong))}
        | fields
        for i in range(n)
    ]


@pytest.fixture
def pair(tmp_path: Path) -> Any:
    def write(
        dense: list[dict[str, Any]],
        candidate: list[dict[str, Any]],
        cluster: str | None = None,
        **options: Any,
    ) -> Paired:
        logs = {}
        for side, content in (("dense", dense), ("candidate", candidate)):
            path = tmp_path / f"{side}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in content))
            logs[side] = Jsonl().read(path, cluster=cluster)
        return pairing.write(logs, out=tmp_path / "out", **options)

    return write


def judged(paired: Paired) -> Verdict:
    policy = paired.folders["dense"].parent / "policy.yaml"
    policy.write_text(POLICY)
    dense, candidate = (str(paired.folders[side]) for side in ("dense", "candidate"))
    return api.judge(candidate, dense, policy=policy)


def score(paired: Paired, side: str, name: str = "jsonl/arc/score") -> float | None:
    return evaluations.load(str(paired.folders[side])).scorecard[name].value


def test_equal_logs_pass(pair: Any) -> None:
    paired = pair(rows(wrong=range(40)), rows(wrong=range(41)))
    assert (score(paired, "dense"), score(paired, "candidate")) == (80.0, 79.5)
    assert paired.notes == ()
    assert judged(paired).outcome == "pass"


def test_a_large_drop_blocks(pair: Any) -> None:
    assert judged(pair(rows(), rows(wrong=range(20)))).outcome == "block"


def test_order_of_rows_is_no_matter(pair: Any) -> None:
    paired = pair(rows(wrong=[3]), rows(wrong=[3])[::-1])
    verdict = judged(paired)
    [drop] = [one for one in verdict.findings if one.rule == "max_drop"]
    assert drop.evidence["dimensions"]["jsonl/arc/score"]["n_flips"] == 0


@pytest.mark.parametrize(
    ("candidate", "note"),
    [
        pytest.param(rows()[:-1], "lacks 1 row", id="a row is missing"),
        pytest.param([*rows()[:-1], *rows(1, id=999)], "lacks", id="another document"),
        pytest.param(
            [*rows()[:-1], rows()[-1] | {"input": "Question, please?"}],
            "asked with another prompt",
            id="another prompt",
        ),
        pytest.param(
            [*rows()[:-1], rows()[-1] | {"score": None}], "without a score", id="an error row"
        ),
        pytest.param(
            [*rows(), *rows(metric="f1")], "the log of the dense model has no such metric", id="f1"
        ),
    ],
)
def test_what_one_log_lacks_never_passes(pair: Any, candidate: Any, note: str) -> None:
    paired = pair(rows(), candidate)
    assert note in "\n".join(paired.notes)
    verdict = judged(paired)
    assert verdict.outcome == "inconclusive"
    assert "not measured for both models" in str([one.reason for one in verdict.findings])


def test_other_tasks_are_refused(pair: Any) -> None:
    with pytest.raises(UserError, match=r"no task and metric in common: jsonl/arc/score in "):
        pair(rows(), rows(task="boolq"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"score": math.nan}, "line 200: not valid JSON: NaN is not a finite number"),
        ({"score": "high"}, r"line 200: 'high' is not a finite number"),
        ({"score": 3}, "score of arc is 3, outside 0 .worst. to 1"),
        ({"id": 0}, "line 200: metric score, id 0, repeat 0 of arc is there twice, first as row 1"),
        ({"color": 1}, "line 200: unknown field 'color'"),
        ({"input": None}, "line 200: needs task, score, and input or input_hash"),
    ],
)
def test_bad_rows_are_refused(pair: Any, row: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pair(rows(), [*rows()[:-1], rows()[-1] | row])


def test_scales_give_the_direction(pair: Any) -> None:
    paired = pair(rows(score=0.5), rows(score=1.5), scales={"score": Scale(worst=2, best=0)})
    assert (score(paired, "dense"), score(paired, "candidate")) == (75.0, 25.0)


def test_a_metric_that_no_log_has(pair: Any) -> None:
    with pytest.raises(UserError, match="Unknown metric 'acc'"):
        pair(rows(), rows(), metrics=["acc"])


def test_clusters_widen_the_bound(pair: Any, tmp_path: Path) -> None:
    passages = [row | {"cluster": f"passage {row['id'] // 20}"} for row in rows()]
    changed = [row | {"score": int(row["id"] not in (1, 2, 3))} for row in passages]
    paired = pair(passages, changed)
    row = api.compare(*map(str, (paired.folders["candidate"], paired.folders["dense"])))
    assert row["jsonl/arc/score"].n_clusters == 10  # type: ignore[union-attr]


def test_repeats_are_one_document(pair: Any) -> None:
    twice = [*rows(repeat=0), *rows(repeat=1)]
    paired = pair(twice, twice)
    row = api.compare(*map(str, (paired.folders["candidate"], paired.folders["dense"])))
    drop = row["jsonl/arc/score"]
    assert drop and (drop.n_prompts, drop.n_clusters) == (400, 200)


def test_a_pin_is_of_the_whole_suite(pair: Any, tmp_path: Path) -> None:
    paired = pair(rows(), rows()[:-1])
    pin, items = pins.of_evaluation(evaluations.load(str(paired.folders["dense"])))
    suite = config.load_json(paired.folders["dense"] / "suite.json", SuiteManifest)
    assert (pin.digest, items) == (suite.digest, {"jsonl/arc/score": 200})
    with pytest.raises(UserError, match="lacks answers of jsonl/arc/score"):
        pins.of_evaluation(evaluations.load(str(paired.folders["candidate"])))


@pytest.mark.parametrize(
    ("task", "metric", "name"),
    [
        ("arc_easy", "acc", "h/arc_easy/acc"),
        ("inspect_evals/gpqa", "match", "h/inspect_evals/gpqa/match"),
        ("a b|c", "exact match,strict", "h/a_b_c/exact_match_strict"),
        ("../../etc", ".", "h/_../_../etc/_."),
    ],
)
def test_names_are_safe_as_paths(task: str, metric: str, name: str) -> None:
    assert imported.name_of("h", task, metric) == name
    assert imported.is_name(name)


@pytest.mark.parametrize("name", ["h/../x", "h//x", "/a/b/c", "a/b", "a/b/c/", "a/./c", "a/b/c\n"])
def test_other_names_are_refused(name: str) -> None:
    assert not imported.is_name(name)
