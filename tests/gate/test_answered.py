"""Answers that were not given or cannot be read: counted apart, never scored, never a free pass."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from comptrust.errors import UserError
from comptrust.gate import policy as policies
from comptrust.gate import statistics
from comptrust.gate.evidence import Evidence
from comptrust.gate.rules.answered import Answered
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.gate.rules.readable import Readable
from comptrust.gate.verdict import judge
from comptrust.records import Generation, SuiteManifest
from comptrust.trust import base, scoring
from comptrust.trust.evaluation import Evaluation
from tests.support.evaluations import DENSE, EIGHT, evaluation, policy

N = 400


def answers(
    texts: list[str], reasons: dict[int, str] | None = None, **extra: Any
) -> list[Generation]:
    return [
        Generation(
            dimension="mmlu",
            scenario="anatomy",
            id=f"anatomy#{row}",
            texts=(text,),
            target="A",
            extra=extra,
            finish_reasons=((reasons or {}).get(row, "stop"),),
        )
        for row, text in enumerate(texts)
    ]


def measured(rows: list[Generation], *, recipe: Any = EIGHT) -> Evaluation:
    """Return an evaluation whose scores come from these answers."""
    made = evaluation(recipe, {"mmlu": None})
    suite = SuiteManifest(
        name="tiny",
        revision="1",
        required={"mmlu": ("anatomy",)},
        digest="s",
        n_prompts={"mmlu": {"anatomy": len(rows)}},
    )
    card = made.scorecard.model_copy(
        update={
            "scores": scoring.score(rows, suite=suite),
            "generations": {"mmlu": str(recipe)},
        }
    )
    return dataclasses.replace(made, scorecard=card, suite=suite, generations={"mmlu": rows})


def evidence(texts: list[str], reasons: dict[int, str], dense: dict[int, str]) -> Evidence:
    right = ["A"] * N
    return Evidence(
        candidate=measured(answers(texts, reasons)),
        baseline=measured(answers(right, dense), recipe=DENSE),
    )


@pytest.mark.parametrize(
    ("ours", "dense", "outcome", "said"),
    [
        (0, 0, "pass", "1% of the answers missing."),
        (4, 0, "pass", ""),
        (
            5,
            0,
            "inconclusive",
            "mmlu (candidate): 5 of 400 prompts (abort; most in scenario anatomy)",
        ),
        (0, 5, "inconclusive", "mmlu (dense): 5 of 400 prompts"),
    ],
)
def test_at_most_one_percent_may_be_missing(ours: int, dense: int, outcome: str, said: str) -> None:
    found = Answered().check(
        evidence(
            ["A"] * N, dict.fromkeys(range(ours), "abort"), dict.fromkeys(range(dense), "error")
        )
    )
    assert found.outcome == outcome and said in found.reason
    if ours:
        assert found.evidence["candidate"] == {"mmlu": {"anatomy": {"abort": ours}}}


def test_prompts_beyond_the_window_are_left_out_of_both_sides() -> None:
    """The candidate would answer them; without them it is as good as the dense model."""
    beyond = dict.fromkeys(range(100), "too_long")
    both = evidence(["A"] * N, beyond, beyond)
    finding = Answered().check(both)
    assert finding.outcome == "pass" and "100 prompts beyond the context window" in finding.reason
    drop = compared(both)
    assert (drop.observed, drop.n_prompts, drop.n_withheld) == (0, 300, 0)
    # 4 of the 300 prompts that are left are more than 1%
    some = evidence(["A"] * N, {**beyond, **dict.fromkeys(range(100, 104), "abort")}, beyond)
    assert "4 of 400 prompts" in Answered().check(some).reason
    # a window that only the candidate lacks is no reason to leave anything out
    smaller = evidence(["A"] * N, beyond, {})
    assert Answered().check(smaller).outcome == "inconclusive"
    assert compared(smaller).upper > 25


def compared(pair: Evidence) -> statistics.Drop:
    assert pair.baseline is not None
    tables = [side.table("mmlu") for side in (pair.candidate, pair.baseline)]
    assert tables[0] is not None and tables[1] is not None
    drop = statistics.compare(*tables, dimension=base.get("mmlu"))
    assert drop is not None
    return drop


def test_what_was_not_given_enters_the_bound_as_lost() -> None:
    all_given = compared(evidence(["A"] * N, {}, {}))
    some = compared(evidence(["A"] * N, {0: "content_filter", 1: "abort"}, {2: "error"}))
    assert (some.observed, some.n_withheld, some.n_flips) == (0, 3, 0)
    assert some.upper == pytest.approx(all_given.upper + 100 * 3 / N)
    assert all_given.model_dump().get("n_withheld") is None


@pytest.mark.parametrize(("lost", "outcome"), [(20, "pass"), (21, "inconclusive")])
def test_an_observed_drop_counts_them_too(lost: int, outcome: str) -> None:
    reasons = dict.fromkeys(range(lost), "content_filter")
    finding = MaxDrop(evidence="observed").check(evidence(["A"] * N, reasons, {}))
    assert finding.outcome == outcome, finding.reason


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("\nA", "blank space"),
        ("", "ends at once"),
        ("The heart, since", "form that was asked for"),
        ("I'm sorry, I cannot tell.", None),
        ("B", None),
    ],
)
def test_a_dense_model_that_cannot_be_read_settles_nothing(text: str, cause: str | None) -> None:
    """Both models score 0, so no drop is seen."""
    dense = measured(answers([text] * 81 + ["A"] * 319), recipe=DENSE)
    same = Evidence(measured(answers([text] * 81 + ["A"] * 319)), dense)
    verdict = judge(same, policy(MaxDrop(evidence="observed"), Readable()))
    found = verdict.findings[-1]
    if cause is None:
        assert found.outcome == "pass"
    else:
        assert verdict.outcome == found.outcome == "inconclusive"
        assert "mmlu: 20% in anatomy" in found.reason and cause in found.reason


@pytest.mark.parametrize("name", ["staging", "production"])
def test_the_shipped_policies_ask_for_both(name: str) -> None:
    rules = policies.load(name).rules
    assert Answered(percent=1) in rules and Readable(percent=20) in rules


def test_a_policy_excludes_scenarios_by_name(tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    text = "name: mine\nrules: [{rule: complete}]\n"
    path.write_text(text)
    plain = policies.load(str(path)).digest
    path.write_text(text + "exclude: [mmlu/anatomy]\n")
    assert policies.load(str(path)).exclude == ("mmlu/anatomy",)
    assert policies.load(str(path)).digest != plain
    path.write_text(text + "exclude: [anatomy]\n")
    with pytest.raises(UserError, match="'anatomy' does not name a scenario"):
        policies.load(str(path))


def test_a_scenario_with_prompts_that_fit_cannot_be_excluded() -> None:
    pair = evidence(["B"] * N, {}, {0: "too_long"})
    assert pair.without(["mmlu/anatomy"]) is pair
