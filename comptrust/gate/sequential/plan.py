"""The stopping plan: what is asked first, in which steps, how far, and with which errors.

It follows from the suite, the margins and the seed alone, so that anybody can make it again.
"""

import math
from collections.abc import Mapping

from comptrust.gate import power
from comptrust.records import Prompt, Record, Suite
from comptrust.trust import base, order, sample, scorers

FIRST, BATCH = 12, 12
"""Items of a dimension asked first, and in each step after that."""
PASS_ERROR, BLOCK_ERROR, CAP_ERROR = 0.04, 0.05, 0.01


class Stretch(Record):
    """One dimension of the plan."""

    dimension: str
    points: float
    """The margin, in points of 100."""
    fidelity: float = 1.0
    """Share of a true drop that the classifier shows that scores the texts."""
    cost: float
    """Of one item: tokens to read and write, on average."""
    first: int
    """Items asked before any other dimension gets more."""
    batch: int
    """Items of each later step."""
    cap: int
    """Items after which the gate's own bound decides."""
    linear: bool
    """Whether the drop is a weighted mean over items, so that bets decide."""


class StoppingPlan(Record):
    """When an evaluation may stop."""

    suite: str
    """Digest of the whole suite."""
    seed: int
    pass_error: float
    """Probability that a dimension that lost the margin passes before its cap."""
    block_error: float
    """Probability that a dimension that lost just the margin is blocked before its cap."""
    cap_error: float
    """Probability that a dimension that lost the margin passes at its cap."""
    stretches: tuple[Stretch, ...]


def plan(
    suite: Suite, margins: Mapping[str, float], *, seed: int = sample.SEED, times: float = 2.0
) -> StoppingPlan:
    """Plan an evaluation that may stop early, with a margin in points for each dimension.

    The cap is `times` the items with which a lossless model passes the whole verdict.
    """
    return StoppingPlan(
        suite=suite.digest,
        seed=seed,
        pass_error=PASS_ERROR,
        block_error=BLOCK_ERROR,
        cap_error=CAP_ERROR,
        stretches=tuple(
            _stretch(suite, name, points, seed=seed, times=times, each=power.each(len(margins)))
            for name, points in margins.items()
        ),
    )


def _stretch(
    suite: Suite, name: str, points: float, *, seed: int, times: float, each: float
) -> Stretch:
    prompts = suite.by_dimension()[name]
    asked = order.of(suite, name, seed=seed)
    table = sample.unanswered(prompts, dimension=name, suite=suite)
    contrast = base.get(name, scoring=suite.scoring).contrast(table, table)
    fidelity = scorers.fidelity(suite.scorers.get(name))
    needed = power.Design.of(contrast, table).needed(
        points * fidelity, changed=power.CHANGED, power=each
    )
    items = len(asked.items)
    return Stretch(
        dimension=name,
        points=points,
        fidelity=fidelity,
        cost=round(sum(cost(prompts[row]) for rows in asked.items for row in rows) / items, 1),
        first=min(FIRST, items),
        batch=BATCH,
        cap=items if needed is None else min(items, math.ceil(times * needed)),
        linear=contrast.linear,
    )


def cost(prompt: Prompt) -> float:
    """Return about how many tokens a prompt costs; one to write costs as much as four to read."""
    read = sum(len(message.content) for message in prompt.messages) + len(prompt.prefill)
    if prompt.choices:
        return (read + sum(len(choice.continuation) for choice in prompt.choices)) / 4
    return read / 4 + 4 * prompt.sampling.n * prompt.sampling.max_tokens
