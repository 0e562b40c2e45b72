"""The course: what comes next follows from the answers, and nothing else is accepted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks import sequential as simulation
from comptrust.errors import UserError
from comptrust.gate.sequential import plan as plans
from comptrust.gate.sequential.course import Batch, Course, urgency
from comptrust.gate.sequential.plan import StoppingPlan
from comptrust.records import Suite
from comptrust.trust import base, order, sample
from comptrust.trust.base import Table
from tests.support.courses import MARGINS, PLAN, SUITE, suite

Tables = tuple[Table, Table]
ORDERS = {name: order.of(SUITE, name) for name in MARGINS}


def answers(name: str, lost: float, *, changed: float = 0.02, seed: int = 0) -> Tables:
    """Return answers of the candidate and of the dense model to all prompts of a dimension."""
    blank = sample.unanswered(SUITE.by_dimension()[name], dimension=name, suite=SUITE)
    chance = np.random.default_rng(seed).random(len(blank.ids))
    dense = np.where(chance < 0.99, 1.0, 0.0)
    ours = np.where(
        chance < lost + changed / 2, 0.0, np.where(chance > 1 - changed / 2, 1.0, dense)
    )
    attacked = np.isin(blank.scenario, ["jailbreak/1", "evasive/1"])
    return tuple(  # type: ignore[return-value]
        dataclasses.replace(blank, values=blank.values | values(right, attacked))
        for right in (ours, dense)
    )


def values(right: np.ndarray, attacked: np.ndarray) -> dict[str, np.ndarray]:
    return {"correct": np.where(attacked, 0.0, right), "misled": np.where(attacked, 1 - right, 0.0)}


def take(tables: Tables, course: Course, batch: Batch) -> Tables:
    """Return the answers to the prompts asked so far."""
    rows = ORDERS[batch.dimension].rows(batch.stop)
    keep = np.isin(np.arange(len(tables[0].ids)), rows)
    return tables[0].select(keep), tables[1].select(keep)


def run(tables: dict[str, Tables], plan: StoppingPlan = PLAN) -> tuple[Course, list[Batch]]:
    course, batches = Course(plan, SUITE), []
    while batch := course.next():
        course.tell(batch, *take(tables[batch.dimension], course, batch))
        batches.append(batch)
    return course, batches


LOSSLESS = {name: answers(name, 0.0, seed=n) for n, name in enumerate(MARGINS)}
RUINED = LOSSLESS | {"ethics": answers("ethics", 0.3)}


def test_the_plan_follows_from_its_arguments() -> None:
    assert plans.plan(SUITE, MARGINS, changed=0.02) == PLAN
    assert StoppingPlan.model_validate_json(PLAN.model_dump_json()) == PLAN
    mmlu, ethics = PLAN.stretches
    # 129 items are planned for one dimension, 149 for each of two.
    assert (mmlu.cap, mmlu.first, mmlu.batch, mmlu.early) == (ethics.cap, 8, 8, True)
    assert 250 < mmlu.cap < 350
    assert mmlu.looks.tolist() == [*range(8, mmlu.cap, 8), mmlu.cap]
    assert PLAN.pass_error + PLAN.cap_error == pytest.approx(0.05)


def test_the_cap_is_at_most_the_suite_and_a_small_suite_decides_nothing_early() -> None:
    small = suite(40)
    row, _ = plans.plan(small, MARGINS).stretches
    assert (row.cap, row.early) == (40, False)
    assert PLAN.error_at_cap(row) == pytest.approx(0.05)
    assert PLAN.error_at_cap(PLAN.stretches[0]) == pytest.approx(0.01)


def test_a_sample_or_an_unknown_dimension_cannot_be_planned() -> None:
    with pytest.raises(UserError, match="Only a whole suite can be stopped early"):
        plans.plan(sample.draw(SUITE, 10), MARGINS)
    with pytest.raises(UserError, match="asks no prompts of privacy"):
        plans.plan(SUITE, {"privacy": 5.0})


def test_a_lossless_model_passes_before_the_cap() -> None:
    course, batches = run(LOSSLESS)
    assert [row.outcome for row in course.decisions] == ["pass", "pass"]
    assert course.reason == "Every dimension is decided."
    for row, stretch in zip(course.decisions, PLAN.stretches, strict=True):
        assert row.decided_at == row.items < stretch.cap
        assert row.bounds[-1] == (row.items, row.bounds[-1][1], 5.0)
        assert [items for items, _, _ in row.bounds] == stretch.looks[: len(row.bounds)].tolist()
    assert batches[:2] == [Batch("mmlu", 0, 8), Batch("ethics", 0, 8)]


def test_batches_grow_while_nothing_is_lost_up_to_where_it_can_pass() -> None:
    same = {name: answers(name, 0.0, changed=0.0) for name in MARGINS}
    course, batches = run(same)
    for name, stretch in zip(MARGINS, PLAN.stretches, strict=True):
        assert stretch.early and stretch.soonest in stretch.looks
        stops = [batch.stop for batch in batches if batch.dimension == name]
        assert stops == [8, 16, 32, 64, stretch.soonest]
        assert course.decision(name).decided_at == stretch.soonest
        # The bounds are those of every look, so that a figure shows how they narrow.
        bounds = course.decision(name).bounds
        assert [items for items, _, _ in bounds] == list(range(8, stretch.soonest + 1, 8))
    _, batches = run(RUINED)
    ruined = [batch.stop - batch.start for batch in batches if batch.dimension == "ethics"]
    assert set(ruined) == {8}, "a drop is looked at after every batch"


def test_a_ruined_dimension_is_asked_first_and_ends_it() -> None:
    course, batches = run(RUINED)
    mmlu, ethics = course.decisions
    assert (mmlu.outcome, ethics.outcome) == ("inconclusive", "block")
    assert ethics.decided_at == ethics.items < 80
    assert mmlu.items <= 24
    assert ethics.bounds[-1][1] == 5.0
    assert course.reason == f"ethics is blocked after {ethics.items} items."
    assert course.next() is None


def test_the_same_answers_give_the_same_course() -> None:
    for tables in (LOSSLESS, RUINED):
        (one, first), (two, second) = run(tables), run(tables)
        assert (first, one.decisions, one.reason) == (second, two.decisions, two.reason)


def test_only_the_next_batch_and_its_answers_are_taken() -> None:
    course = Course(PLAN, SUITE)
    batch = course.next()
    assert batch == Batch("mmlu", 0, 8)
    ours, dense = take(LOSSLESS["mmlu"], course, batch)
    for wrong in (Batch("mmlu", 0, 16), Batch("ethics", 0, 8), Batch("mmlu", 8, 16)):
        with pytest.raises(UserError, match="are not what comes next"):
            course.tell(wrong, ours, dense)
    keep = np.arange(8) < 7
    for tables in (
        (ours.select(keep), dense.select(keep)),
        (ours, dense.select(keep)),
        LOSSLESS["mmlu"],
    ):
        with pytest.raises(UserError, match="The answers of mmlu are not those to its first 8"):
            course.tell(batch, *tables)
    assert course.decisions[0].items == 0
    course.tell(batch, ours, dense)
    with pytest.raises(UserError, match="left out, added or reordered"):
        course.tell(batch, ours, dense)


def test_a_stopped_course_takes_nothing_more() -> None:
    course, batches = run(RUINED)
    batch = Batch("mmlu", course.decisions[0].items, course.decisions[0].items + 8)
    with pytest.raises(UserError, match="nothing"):
        course.tell(batch, *take(RUINED["mmlu"], course, batch))


def test_a_plan_belongs_to_its_suite() -> None:
    with pytest.raises(UserError, match="The stopping plan is one of suite"):
        Course(PLAN, suite(484))


def test_answers_that_were_not_given_never_help() -> None:
    ours, dense = LOSSLESS["mmlu"]
    silent = dataclasses.replace(ours, withheld={row: "error" for row in range(0, 480, 8)})
    course, _ = run(LOSSLESS | {"mmlu": (silent, dense)})
    assert course.decisions[0].outcome == "inconclusive"
    assert course.decisions[0].items == PLAN.stretches[0].cap
    lost, dense = RUINED["ethics"]
    hidden = {row: "error" for row in np.flatnonzero(lost.values["correct"] == 0).tolist()}
    course, _ = run(RUINED | {"ethics": (dataclasses.replace(lost, withheld=hidden), dense)})
    assert course.decisions[1].decided_at is None
    assert course.decisions[1].outcome != "pass"


def test_at_its_cap_the_gate_s_own_bound_decides() -> None:
    """Lost 4 of 100: too near to the margin for bets, and for a bound with 1% error."""
    course, _ = run(LOSSLESS | {"mmlu": answers("mmlu", 0.04, changed=0.0)})
    near = course.decisions[0]
    assert (near.outcome, near.decided_at) == ("inconclusive", None)
    assert near.items == PLAN.stretches[0].cap
    assert course.reason == "Not decided up to their caps: mmlu."
    course, _ = run(LOSSLESS | {"mmlu": answers("mmlu", 0.055, changed=0.0, seed=2)})
    lost = course.decisions[0]
    assert (lost.outcome, lost.decided_at) == ("block", None)
    assert course.reason.endswith(", at its cap.")


def test_of_equal_dimensions_the_first_of_the_plan_comes_first() -> None:
    same = {name: answers(name, 0.0, changed=0.0) for name in MARGINS}
    equal = PLAN.model_copy(
        update={
            "stretches": tuple(
                stretch.model_copy(update={"cost": 1.0}) for stretch in PLAN.stretches
            )
        }
    )
    _, batches = run(same, equal)
    assert [batch.dimension for batch in batches[:4]] == ["mmlu", "ethics", "mmlu", "ethics"]
    dear = equal.model_copy(
        update={
            "stretches": (
                equal.stretches[0].model_copy(update={"cost": 1000.0}),
                equal.stretches[1],
            )
        }
    )
    _, batches = run(same, dear)
    assert [batch.dimension for batch in batches[2:5]] == ["ethics"] * 3


def test_urgency_grows_with_the_evidence_and_falls_with_the_cost() -> None:
    logs = np.array([-2.0, 0.0, 2.0, 2.99])
    assert (np.diff(urgency(logs, error=0.05, cost=1.0)) > 0).all()
    assert urgency(1.0, error=0.05, cost=2.0) < urgency(1.0, error=0.05, cost=1.0)
    assert np.isfinite(urgency(9.0, error=0.05, cost=1.0))


@pytest.mark.parametrize("kind", ["binary, items of 1 to 4", "maximum", "gap"])
@pytest.mark.parametrize("drop", [0.0, 15.0])
def test_the_simulation_runs_the_course(kind: str, drop: float) -> None:
    """Batch for batch and outcome for outcome: the simulated verdict is that of the gate."""
    ninth = next(row for row in simulation.KINDS if row.name == kind)
    both = (
        simulation.Kind("graded", "stereotype", simulation.statements, simulation.shares_of_texts),
        ninth,
    )
    layouts = [simulation.Layout.of(each, 0.02) for each in both]
    whole = Suite(
        name="simulated",
        revision="1",
        required={},
        prompts=tuple(prompt for row in layouts for prompt in row.suite.prompts),
    )
    drawn = [
        simulation.Drawn.of(row, 3, drop=lost, changed=0.02, seed=7)
        for row, lost in zip(layouts, (0.0, drop), strict=True)
    ]
    ends = simulation.simulate(drawn)
    plan = StoppingPlan(
        suite=whole.digest,
        seed=0,
        pass_error=plans.PASS_ERROR,
        cap_error=plans.CAP_ERROR,
        block_error=plans.BLOCK_ERROR,
        stretches=tuple(row.stretch for row in layouts),
    )
    for run_ in range(3):
        course, looks = Course(plan, whole), {row.kind.dimension: 0 for row in layouts}
        while batch := course.next():
            number = [row.kind.dimension for row in layouts].index(batch.dimension)
            look = layouts[number].stretch.looks.tolist().index(batch.stop)
            course.tell(batch, *drawn[number].tables(run_, look))
            looks[batch.dimension] = look + 1
        assert list(looks.values()) == ends.looks[run_].tolist()
        outcomes = [row.outcome for row in course.decisions]
        assert outcomes == [found or "inconclusive" for found in ends.outcomes[run_]]
        assert [row.decided_at is not None for row in course.decisions] == ends.early[run_].tolist()


def test_shrinking_gaps_are_not_blocked() -> None:
    """Gaps that moved by more than the margin, but not for the worse: no certain block."""
    row = next(row for row in simulation.KINDS if row.name == "gap")
    layout = simulation.Layout.of(row, 0.02)
    people = layout.table
    sign = people.values["sensitive"]
    plan = StoppingPlan(
        suite=layout.suite.digest,
        seed=0,
        pass_error=plans.PASS_ERROR,
        cap_error=plans.CAP_ERROR,
        block_error=plans.BLOCK_ERROR,
        stretches=(layout.stretch.model_copy(update={"cap": 400}),),
    )
    unfair = dataclasses.replace(
        people, values=people.values | {"prediction": sign}, refusal=np.zeros(len(sign))
    )
    fair = dataclasses.replace(
        people, values=people.values | {"prediction": 0 * sign}, refusal=np.zeros(len(sign))
    )
    for ours, dense, outcome in ((fair, unfair, "inconclusive"), (unfair, fair, "block")):
        course = Course(plan, layout.suite)
        asked = order.of(layout.suite, "fairness")
        while batch := course.next():
            keep = np.isin(np.arange(len(sign)), asked.rows(batch.stop))
            course.tell(batch, ours.select(keep), dense.select(keep))
        assert course.decisions[0].outcome == outcome
    assert base.get("fairness").statistic
