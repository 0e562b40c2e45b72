"""Planning: how many prompts a policy's margins need, told before any model is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from comptrust.errors import UserError
from comptrust.gate import resampling, statistics
from comptrust.gate.policy import Policy
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.records import Generation, Prompt, Record, Suite
from comptrust.trust import base

CHANGED = 0.02
"""Share of answers that a lossless model is taken to change."""


class Need(Record):
    """What one dimension has and what one margin needs of it."""

    dimension: str
    points: float
    """The margin."""
    applies_to: str
    """Which candidates the rule judges."""
    prompts: int
    """Prompts that the suite asks."""
    clusters: int
    """Of them independent: prompts that share a template or a passage count once."""
    needed: int
    """Independent prompts at which a lossless model passes."""
    enough: bool
    """Whether the independent prompts suffice."""


class Planned(Record):
    """What a policy needs of a suite."""

    power: float
    changed: float
    rows: tuple[Need, ...]


def plan(
    suite: Suite, policy: Policy, *, power: float = statistics.POWER, changed: float = CHANGED
) -> Planned:
    """Set the independent prompts of each dimension against the number that decides with this
    power, per margin.

    Only `max_drop` rules with `evidence: confident` need prompts. The count is for a score that is
    a plain mean of its prompts; the gate measures the spread of the score itself. Raises UserError
    if the policy has no such rule.
    """
    confident = [
        rule for rule in policy.rules if isinstance(rule, MaxDrop) and rule.evidence == "confident"
    ]
    if not confident:
        raise UserError(
            f"Policy {policy.name} has no max_drop rule with `evidence: confident`; it needs no"
            " number of prompts."
        )
    counts = Counter(prompt.dimension for prompt in suite.prompts)
    independent = {
        name: _independent(
            [prompt for prompt in suite.prompts if prompt.dimension == name], suite=suite
        )
        for name in counts
    }
    rows = []
    for rule in confident:
        needed = statistics.plan(rule.points, changed=changed, power=power)
        fields = {"points": rule.points, "applies_to": _applies(rule), "needed": needed}
        for name, count in counts.items():
            if not rule.dimensions or name in rule.dimensions:
                clusters = independent[name]
                rows.append(
                    Need(
                        dimension=name,
                        prompts=count,
                        clusters=clusters,
                        enough=clusters >= needed,
                        **fields,
                    )
                )
    return Planned(power=power, changed=changed, rows=tuple(rows))


def _independent(prompts: Sequence[Prompt], *, suite: Suite) -> int:
    """Count the clusters that the gate would resample; they hang on the prompts, not on the
    answers.
    """
    dimension = base.get(prompts[0].dimension, scoring=suite.scoring)
    asked = [
        Generation(
            texts=("",),
            **prompt.model_dump(include={"dimension", "scenario", "id", "target", "extra"}),
        )
        for prompt in prompts
    ]
    table = base.Table.of([dimension.judge(one) for one in asked])
    return sum(one.clusters for one in resampling.strata(table))


def _applies(rule: MaxDrop) -> str:
    bits = [
        f"{word} {value} bits"
        for word, value in (("from", rule.bits_at_least), ("up to", rule.bits_at_most))
        if value is not None
    ]
    return ", ".join([rule.applies_to, *bits])
