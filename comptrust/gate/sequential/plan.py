"""The stopping plan: in which steps each dimension is asked, how far, and with which errors.

It follows from the suite, the margins and the seed alone, so that anybody can make it again.
"""

import math
from collections.abc import Mapping

import numpy as np

from comptrust.errors import UserError
from comptrust.gate import power
from comptrust.gate.sequential.betting import Stakes, certain
from comptrust.records import Prompt, Record, Suite
from comptrust.trust import base, order, sample, scorers
from comptrust.trust.contrast import Contrast
from comptrust.trust.order import Order

PASS_ERROR, CAP_ERROR, BLOCK_ERROR = 0.04, 0.01, 0.05
"""The first two add up to the gate's 5%, split by simulation (benchmarks/sequential.py)."""
CHANGED = 0.05
"""Share of answers that a lossless model may change and still pass at the cap as planned."""
BATCHES, SMALLEST = 40, 8
"""A batch is the cap over the first, but not less than the second, in items."""
WRITE, CHARACTERS = 4.0, 4.0
"""A token to write costs as much as four to read; a token has about four characters."""


class Stretch(Record):
    """One dimension of the plan."""

    dimension: str
    points: float
    """The margin, in points of 100."""
    fidelity: float = 1.0
    """Share of a true drop that the classifier shows that scores the texts."""
    cost: float
    """Of one item: tokens to read, on average; those to write are converted."""
    first: int
    """Items asked before any other dimension gets more."""
    batch: int
    """Items of each later step."""
    cap: int
    """Items after which the gate's own bound decides."""
    early: bool
    """Whether bets can pass it before its cap; if not, the cap has the whole error."""
    soonest: int
    """Items before which bets cannot pass even an unchanged model; 0 if they never can."""

    @property
    def looks(self) -> np.ndarray:
        """Items asked after each batch."""
        return _looks(self.first, self.batch, self.cap)

    @property
    def margins(self) -> tuple[float, float]:
        """The margin for a block and for a pass, 0-1.

        A scorer that shows a part of a drop leaves that part of the margin.
        """
        return self.points / 100, self.points * self.fidelity / 100

    def after(self, look: int, log_block: float) -> int:
        """Return the number of the look that comes after so many looks.

        `log_block` is the log of the capital that bets on a block. As long as those bets lose, the
        items asked double, up to `soonest`: many prompts at once are answered faster than few.
        """
        if round(log_block, 6) >= 0:  # rounded, so that no computer differs
            return look + 1
        soonest = int(np.searchsorted(self.looks, self.soonest)) + 1
        return max(look + 1, min(2 * look, soonest))


class StoppingPlan(Record):
    """When an evaluation may stop."""

    suite: str
    """Digest of the whole suite."""
    seed: int
    pass_error: float
    """Probability that a dimension that lost the margin passes before its cap."""
    cap_error: float
    """Probability that a dimension that lost the margin passes at its cap."""
    block_error: float
    """Probability that a dimension that lost just the margin is blocked before its cap."""
    stretches: tuple[Stretch, ...]

    def error_at_cap(self, stretch: Stretch) -> float:
        """Return the error with which a dimension passes at its cap."""
        return self.cap_error if stretch.early else self.pass_error + self.cap_error


def plan(
    suite: Suite,
    margins: Mapping[str, float],
    *,
    seed: int = sample.SEED,
    times: float = 2.0,
    changed: float = CHANGED,
) -> StoppingPlan:
    """Plan an evaluation that may stop early, with a margin in points for each dimension.

    The cap is `times` the items with which a lossless model passes the whole verdict that changes
    such a share of its answers, at most all items. Raises UserError for a sampled suite, and for a
    dimension that the suite does not ask.
    """
    if suite.sample:
        raise UserError(
            "Only a whole suite can be stopped early, and this one is a sample of another: leave"
            " out the limit."
        )
    return StoppingPlan(
        suite=suite.digest,
        seed=seed,
        pass_error=PASS_ERROR,
        cap_error=CAP_ERROR,
        block_error=BLOCK_ERROR,
        stretches=tuple(
            stretch(
                suite, name, points, judged=len(margins), seed=seed, times=times, changed=changed
            )
            for name, points in margins.items()
        ),
    )


def design(suite: Suite, name: str, *, seed: int) -> tuple[Order, Contrast, base.Table]:
    """Return the order of a dimension, and its contrast and table without answers."""
    prompts = suite.by_dimension().get(name)
    if prompts is None:
        raise UserError(f"The suite asks no prompts of {name}, so it has nothing to stop.")
    table = sample.unanswered(prompts, dimension=name, suite=suite)
    contrast = base.get(name, scoring=suite.scoring).contrast(table, table)
    return order.of(suite, name, seed=seed), contrast, table


def stretch(
    suite: Suite,
    name: str,
    points: float,
    *,
    judged: int,
    seed: int = sample.SEED,
    times: float = 2.0,
    changed: float = CHANGED,
) -> Stretch:
    """Plan one of so many judged dimensions, see `plan`."""
    asked, contrast, table = design(suite, name, seed=seed)
    fidelity = scorers.fidelity(suite.scorers.get(name))
    margin = points * fidelity
    needed = power.Design.of(contrast, table).needed(
        margin, changed=changed, power=power.each(judged)
    )
    items = len(asked.items)
    cap = items if needed is None else min(items, math.ceil(times * needed))
    # The gate's bound needs every scenario that counts.
    places = {row: place for place, rows in enumerate(asked.items, start=1) for row in rows}
    seen: dict[str, int] = {}
    for row in sorted(places, key=places.__getitem__):
        seen.setdefault(table.scenario[row], places[row])
    cap = max(cap, *seen.values())
    batch = max(SMALLEST, math.ceil(cap / BATCHES))
    first = min(batch, cap)
    nothing_lost = np.zeros(len(asked.shares))
    lossless = Stakes.of(asked, contrast).passing(nothing_lost, margin / 100, asked=cap)
    passes = [
        int(look) for look in _looks(first, batch, cap) if certain(lossless[:look], PASS_ERROR)
    ]
    prompts = suite.by_dimension()[name]
    return Stretch(
        dimension=name,
        points=points,
        fidelity=fidelity,
        cost=round(sum(cost(prompts[row]) for row in places) / items, 1),
        first=first,
        batch=batch,
        cap=cap,
        early=bool(passes),
        soonest=passes[0] if passes else 0,
    )


def _looks(first: int, batch: int, cap: int) -> np.ndarray:
    """Return the items asked after each batch, shape (looks,)."""
    looks = [first]
    while looks[-1] < cap:
        looks.append(min(cap, looks[-1] + batch))
    return np.array(looks)


def cost(prompt: Prompt) -> float:
    """Return about how many tokens a prompt costs, from its own length and its answers' limit."""
    read = sum(len(message.content) for message in prompt.messages) + len(prompt.prefill)
    if prompt.choices:
        return (read + sum(len(choice.continuation) for choice in prompt.choices)) / CHARACTERS
    return read / CHARACTERS + WRITE * prompt.sampling.n * prompt.sampling.max_tokens
