"""Forecasts: cheap for a ruined model, dear near the margin, and the same every time."""

from __future__ import annotations

import pytest

from comptrust.gate import planning, policy
from comptrust.gate.sequential import plan as plans
from comptrust.gate.sequential.forecast import DROPS, forecast
from comptrust.trust import order, sample
from tests.support.courses import MARGINS, PLAN, SUITE


def test_a_large_drop_is_cheap_and_one_of_the_margin_dear() -> None:
    rows = forecast(PLAN, SUITE, runs=60)
    assert tuple(row.drop for row in rows) == DROPS
    none, _, margin, ten, thirty = rows
    assert none.passed > 0.9 > 0.2 > margin.passed
    assert thirty.blocked == 1.0
    assert thirty.prompts < ten.prompts < margin.prompts
    assert thirty.prompts < 0.3 * none.prompts
    assert none.prompts == pytest.approx(sum(none.items.values()))  # a prompt per item
    assert none.tokens > none.prompts
    assert forecast(PLAN, SUITE, runs=60) == rows


def test_a_plan_says_what_stopping_early_costs() -> None:
    rules = policy.load("staging")
    plan = planning.plan(SUITE, rules)
    assert plan.stopping is not None
    # The smallest margin of each dimension counts.
    smallest = {name: min(r.points for r in plan.rows if r.dimension == name) for name in MARGINS}
    assert {row.dimension: row.points for row in plan.stopping.stretches} == smallest
    assert plan.stopping == plans.plan(SUITE, smallest)
    assert len(plan.forecasts) == len(DROPS)
    assert plan.prompts_needed == sum(
        max(row.needed or 0 for row in plan.rows if row.dimension == name) for name in MARGINS
    )
    sampled = planning.plan(sample.draw(SUITE, 100), rules)
    assert (sampled.stopping, sampled.forecasts) == (None, ())


def test_hours_are_those_of_the_dense_model_per_token() -> None:
    rules = policy.load("staging")
    assert planning.plan(SUITE, rules).hours({"mmlu": 10}) is None
    plan = planning.plan(SUITE, rules, seconds=7200)
    assert plan.hours(dict.fromkeys(MARGINS, 0)) == 0
    every = {row.dimension: len(order.of(SUITE, row.dimension).items) for row in PLAN.stretches}
    assert plan.hours(every) == pytest.approx(2, rel=0.01)  # costs are rounded
    assert plan.hours({**every, "mmlu": None}) is None
    assert plan.hours(plan.forecasts[-1].items) < plan.hours(plan.forecasts[0].items)
