"""Judge a candidate on the search part only as far as needed.

This decides which candidate is judged, not whether it passes: that is up to the policy, on prompts
that were held back.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from comptrust.gate import statistics
from comptrust.gate.policy import Policy
from comptrust.gate.rule import matching
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.records import Generation, Result, Suite
from comptrust.trust import base, scorers, scoring

RESAMPLES = 2_000
"""Draws of each bound; the gate itself makes 10,000."""
Answers = Mapping[str, list[Generation]]
"""Dimension -> answers."""


@dataclass(frozen=True)
class Sifted:
    """What the search part says of a candidate."""

    outcome: Result
    worst: float
    """The upper bound that is nearest to its margin or furthest above it, in points."""
    margin: float
    """The margin of that dimension."""
    dimension: str
    prompts: int


def margins(suite: Suite, policy: Policy) -> dict[str, float]:
    """Return the smallest margin of each dimension that a policy judges, in points.

    A rule for few or many bits only counts as well: the search does not rely on an exemption.
    """
    smallest: dict[str, float] = {}
    for rule in policy.rules:
        if isinstance(rule, MaxDrop) and rule.applies_to != "pruned":
            for name in matching(rule.dimensions, suite.by_dimension()):
                if rule.bits_at_least is None:
                    smallest[name] = min(smallest.get(name, 100.0), rule.points)
    return smallest


def sift(
    parts: Iterable[Suite],
    ask: Callable[[Suite], tuple[Answers, Answers]],
    *,
    limits: Mapping[str, float],
) -> Sifted:
    """Ask part after part until every dimension passes or one is certainly worse.

    `ask` returns the answers of the candidate and of the dense model to one part.
    """
    ours: dict[str, list[Generation]] = {}
    dense: dict[str, list[Generation]] = {}
    found = Sifted("inconclusive", float("inf"), 0.0, "", 0)
    for part in parts:
        for side, answers in zip((ours, dense), ask(part), strict=True):
            for name, rows in answers.items():
                side.setdefault(name, []).extend(rows)
        found = judged(ours, dense, part, limits=limits)
        if found.outcome != "inconclusive":
            break
    return found


def judged(ours: Answers, dense: Answers, suite: Suite, *, limits: Mapping[str, float]) -> Sifted:
    """Return the outcome of the answers so far: a block is certain, a pass rules out every drop."""
    outcomes: list[Result] = []
    rows = []
    for name, points in limits.items():
        dimension = base.get(name, scoring=suite.scoring)
        tables = [
            scoring.table(side.get(name, []), dimension=name, scoring=suite.scoring)
            for side in (ours, dense)
        ]
        drop = statistics.compare(
            *tables,
            dimension=dimension,
            resamples=RESAMPLES,
            fidelity=scorers.fidelity(suite.scorers.get(name)),
        )
        upper = drop.upper if drop else float("inf")
        outcomes.append(drop.outcome(points, proven=True) if drop else "inconclusive")
        rows.append((upper - points, upper, points, name))
    outcome: Result = "inconclusive"
    if "block" in outcomes:
        outcome = "block"
    elif all(one == "pass" for one in outcomes):
        outcome = "pass"
    _, worst, margin, name = max(rows)
    return Sifted(outcome, worst, margin, name, sum(map(len, ours.values())))
