"""Planning: how many prompts a policy's margins need, before any model is run."""

from collections.abc import Sequence

from comptrust.errors import UserError
from comptrust.gate import resampling, statistics
from comptrust.gate.policy import Policy
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.records import Generation, Prompt, Record, Suite
from comptrust.trust import base


class PromptNeed(Record):
    """The prompts of one dimension, and how many one margin needs."""

    dimension: str
    points: float
    applies_to: str
    prompts: int
    clusters: int
    """Independent ones among them: prompts that share a template or a passage count once."""
    needed: int
    """Independent prompts at which a lossless model passes."""
    enough: bool


class PromptPlan(Record):
    """The prompts that a policy needs from a suite."""

    power: float
    changed: float
    rows: tuple[PromptNeed, ...]


def plan(suite: Suite, policy: Policy) -> PromptPlan:
    """Compare each dimension's independent prompts with the number that each margin needs.

    Only `max_drop` rules with `evidence: confident` need prompts. The number is for a score that is
    a plain mean over its prompts; the gate itself measures the spread of the real score. Raises
    UserError if the policy has no such rule.
    """
    rules = [
        rule for rule in policy.rules if isinstance(rule, MaxDrop) and rule.evidence == "confident"
    ]
    if not rules:
        raise UserError(
            f"Policy {policy.name} has no max_drop rule with `evidence: confident`, so it does not"
            " depend on the number of prompts."
        )
    prompts: dict[str, list[Prompt]] = {}
    for prompt in suite.prompts:
        prompts.setdefault(prompt.dimension, []).append(prompt)
    clusters = {name: _clusters(asked, suite=suite) for name, asked in prompts.items()}
    needs = [(rule, statistics.plan(rule.points)) for rule in rules]
    rows = tuple(
        PromptNeed(
            dimension=name,
            points=rule.points,
            applies_to=_applies_to(rule),
            prompts=len(asked),
            clusters=clusters[name],
            needed=needed,
            enough=clusters[name] >= needed,
        )
        for rule, needed in needs
        for name, asked in prompts.items()
        if not rule.dimensions or name in rule.dimensions
    )
    return PromptPlan(power=statistics.POWER, changed=statistics.CHANGED, rows=rows)


def _clusters(prompts: Sequence[Prompt], *, suite: Suite) -> int:
    """Count the clusters of a dimension that the gate would resample.

    Clusters depend on the prompts alone, so blank answers will do.
    """
    dimension = base.get(prompts[0].dimension, scoring=suite.scoring)
    fields = {"dimension", "scenario", "id", "target", "extra"}
    blank = [Generation(texts=("",), **prompt.model_dump(include=fields)) for prompt in prompts]
    table = base.Table.of(dimension.judge(generation) for generation in blank)
    return sum(stratum.clusters for stratum in resampling.strata(table))


def _applies_to(rule: MaxDrop) -> str:
    limits = (("from", rule.bits_at_least), ("up to", rule.bits_at_most))
    bits = [f"{word} {value} bits" for word, value in limits if value is not None]
    return ", ".join([rule.applies_to, *bits])
