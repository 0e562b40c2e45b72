"""Planning: how many prompts a policy's margins need, before any model is run."""

import math
from collections.abc import Mapping

from comptrust.errors import UserError
from comptrust.gate import pins, power
from comptrust.gate.policy import Policy
from comptrust.gate.power import Design
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.gate.sequential.forecast import Forecast, forecast
from comptrust.gate.sequential.plan import StoppingPlan, cost
from comptrust.gate.sequential.plan import plan as stopping_plan
from comptrust.gate.statistics import score_bound
from comptrust.records import Record, Suite
from comptrust.text_tables import counted
from comptrust.trust import base, sample, scorers
from comptrust.trust.base import Table
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.limit import shown


class PromptNeed(Record):
    """The prompts of one dimension, and how many one margin needs."""

    dimension: str
    points: float
    applies_to: str
    prompts: int
    clusters: int
    """Independent ones among them: prompts about one item count once."""
    step: float
    """Points by which the heaviest item can move the drop."""
    needed: int | None
    """Items like these at which a lossless model passes; None if no number is enough."""
    enough: bool
    possible: bool
    """Whether a candidate that changes no answer at all passes."""
    least: int = 0
    """Fewest items that the policy decides on, in the rule or for the pinned suite."""
    no_signal: str = ""
    """Why the dense model's answers show no measurable signal; then nothing passes."""

    def __str__(self) -> str:
        if self.no_signal:
            return f"no: {self.no_signal}"
        if self.enough:
            return "yes"
        if self.needed is None:
            return "no, and no number of items would"
        if self.clusters < self.least:
            floor = f"the policy decides nothing with fewer than {self.least} items"
            return f"no: {floor}; needs {self.needed}"
        passes = "passes too rarely" if self.possible else "can never pass"
        return f"no: {passes} with {counted(self.clusters, 'item')}; needs {self.needed}"


class PromptPlan(Record):
    """The prompts that a policy needs from a suite."""

    power: float
    """That of the whole verdict."""
    changed: float
    rows: tuple[PromptNeed, ...]
    prompts_needed: int | None = None
    """Prompts of all dimensions together; None if no number is enough for one of them."""
    items_needed: dict[str, int | None] = {}
    """Dimension -> items of its most demanding margin."""
    stopping: StoppingPlan | None = None
    """How an evaluation is asked that may stop early; None for a sample, which may not."""
    forecasts: tuple[Forecast, ...] = ()
    """What that costs, by how much one dimension loses."""
    hours_per_token: float | None = None
    """Of the dense model's run, in the plan's units of cost; None if it was not measured."""

    def hours(self, items: Mapping[str, float | None]) -> float | None:
        """Return how long so many items of some dimensions take; None if nobody knows."""
        if self.stopping is None or self.hours_per_token is None or None in items.values():
            return None
        tokens = sum(row.cost * (items.get(row.dimension) or 0) for row in self.stopping.stretches)
        return tokens * self.hours_per_token


def plan(
    suite: Suite,
    policy: Policy,
    *,
    dense: Evaluation | None = None,
    seconds: float | None = None,
) -> PromptPlan:
    """Compare each dimension's items with the number that each margin needs.

    A lossless model then passes the whole verdict with probability 0.8, if the dimensions are
    independent and the items to come weigh as much as those there are. With the dense model's
    answers to the suite, items that cannot be scored do not count, and a dimension without a
    measurable signal never passes. `seconds` is how long it took for all of them. Only `max_drop`
    rules with `evidence: confident` or `proven` need prompts. Raises UserError if there is none.
    """
    rows = needs(suite, policy, dense=dense)
    stopping: StoppingPlan | None = None
    forecasts: tuple[Forecast, ...] = ()
    if not suite.sample:
        margins = {
            name: min(row.points for row in rows if row.dimension == name)
            for name in dict.fromkeys(row.dimension for row in rows)
        }
        stopping = stopping_plan(suite, margins)
        forecasts = forecast(stopping, suite)
    return PromptPlan(
        power=power.POWER,
        changed=power.CHANGED,
        rows=rows,
        prompts_needed=_prompts_needed(rows),
        items_needed=_items_needed(rows),
        stopping=stopping,
        forecasts=forecasts,
        hours_per_token=None if seconds is None else seconds / 3600 / sum(map(cost, suite.prompts)),
    )


def needs(
    suite: Suite, policy: Policy, *, dense: Evaluation | None = None
) -> tuple[PromptNeed, ...]:
    """Return what each margin of a policy needs from each dimension, see `plan`."""
    rules = [
        rule for rule in policy.rules if isinstance(rule, MaxDrop) and rule.evidence != "observed"
    ]
    if not rules:
        raise UserError(
            f"Policy {policy.name} has no max_drop rule with `evidence: confident` or `proven`, so"
            " it does not depend on the number of prompts."
        )
    dimensions = dict.fromkeys(prompt.dimension for prompt in suite.prompts)
    tables = {name: (dense and dense.table(name)) or _blank(suite, name) for name in dimensions}
    designs = {
        name: Design.of(base.get(name, scoring=suite.scoring).contrast(table, table), table)
        for name, table in tables.items()
    }
    pin = pins.named(suite.manifest(), policy.suites) if policy.stages else None
    return tuple(
        _need(
            design,
            rule,
            name=name,
            judged=len(rule.dimensions or designs),
            least=max(rule.items_at_least or 0, pin.items_at_least.get(name, 0) if pin else 0),
            fidelity=scorers.fidelity(suite.scorers.get(name)),
            no_signal=dense.no_signal(name) if dense else "",
        )
        for rule in rules
        for name, design in designs.items()
        if not rule.dimensions or name in rule.dimensions
    )


def _prompts_needed(rows: tuple[PromptNeed, ...]) -> int | None:
    """Return the prompts of the most demanding row of each dimension, together."""
    each: dict[str, float] = {}
    for row in rows:
        if row.needed is None or not row.clusters:
            return None
        prompts = row.needed * row.prompts / row.clusters
        each[row.dimension] = max(each.get(row.dimension, 0.0), prompts)
    return math.ceil(sum(each.values()))


def _items_needed(rows: tuple[PromptNeed, ...]) -> dict[str, int | None]:
    """Return the items of the most demanding row of each dimension; None if none are enough."""
    each: dict[str, int | None] = {}
    for row in rows:
        before = each.get(row.dimension, 0)
        known = before is not None and row.needed is not None
        each[row.dimension] = max(before or 0, row.needed or 0) if known else None
    return each


def check(suite: Suite, policy: Policy) -> None:
    """Raise UserError if a dimension has fewer items than the policy asks for.

    Then nothing could be decided, and no model needs to run.
    """
    floors = [
        (rule.items_at_least, rule.dimensions)
        for rule in policy.rules
        if isinstance(rule, MaxDrop) and rule.items_at_least is not None
    ]
    for name in dict.fromkeys(prompt.dimension for prompt in suite.prompts if floors):
        items = power.items(base.get(name, scoring=suite.scoring), _blank(suite, name))
        for floor, judged in floors:
            if items < floor and (not judged or name in judged):
                raise UserError(
                    f"{name} has {items} items (limit {shown(suite.limit)}), but policy"
                    f" {policy.name} decides nothing with fewer than {floor}. Raise the limit, or"
                    " choose another suite or policy."
                )


def _need(
    design: Design,
    rule: MaxDrop,
    *,
    name: str,
    judged: int,
    least: int,
    fidelity: float,
    no_signal: str,
) -> PromptNeed:
    points = rule.points * fidelity
    needed = design.needed(points, changed=power.CHANGED, power=power.each(judged))
    if needed is not None:
        needed = max(needed, least)
    return PromptNeed(
        dimension=name,
        points=rule.points,
        applies_to=_applies_to(rule),
        prompts=len(design.contrast.shares),
        clusters=design.spread.clusters,
        step=design.spread.step,
        needed=needed,
        least=least,
        enough=not no_signal and needed is not None and design.spread.clusters >= needed,
        no_signal=no_signal,
        possible=not no_signal
        and design.spread.clusters >= least
        and score_bound(0.0, standard_error=0.0, step=design.spread.step) < points,
    )


def _blank(suite: Suite, name: str) -> Table:
    """Return a dimension's prompts with blank answers, which have their weights and items."""
    prompts = (prompt for prompt in suite.prompts if prompt.dimension == name)
    return sample.unanswered(prompts, dimension=name, suite=suite)


def _applies_to(rule: MaxDrop) -> str:
    limits = (("from", rule.bits_at_least), ("up to", rule.bits_at_most))
    bits = [f"{word} {value} bits" for word, value in limits if value is not None]
    return ", ".join([rule.applies_to, *bits])
