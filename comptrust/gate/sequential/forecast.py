"""Forecasts: how many courses end how, and what they cost, by simulation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from comptrust.gate import power
from comptrust.gate.sequential import plan as plans
from comptrust.gate.sequential.betting import Stakes, certain
from comptrust.gate.sequential.course import urgency
from comptrust.gate.sequential.plan import StoppingPlan, Stretch
from comptrust.records import Record, Suite

DROPS = (0.0, 2.0, 5.0, 10.0, 30.0)
"""True drops, in points, that a forecast is made for."""
RUNS = 180


class Forecast(Record):
    """What an evaluation costs on average if one dimension, each as often, loses so many points."""

    drop: float
    """In points; the other dimensions lose nothing."""
    passed: float
    """Share of evaluations in which all dimensions pass before their caps."""
    blocked: float
    """Share in which a dimension is blocked before its cap."""
    items: dict[str, float]
    """Dimension -> items asked."""
    prompts: float
    """Prompts asked."""
    tokens: float
    """Cost, in the units of the plan."""


@dataclass(frozen=True)
class Bets:
    """The bets on one dimension in simulated runs, after each batch: shapes (runs, looks)."""

    passes: np.ndarray
    """Whether it has certainly passed."""
    blocks: np.ndarray
    """Whether it is certainly blocked."""
    log_block: np.ndarray
    """Log of the capital that bets on a block."""

    @classmethod
    def on(
        cls, losses: np.ndarray, stakes: Stakes, stretch: Stretch, *, errors: tuple[float, float]
    ) -> "Bets":
        """Bet on losses of shape (runs, n prompts); `errors` are those of a pass and a block."""
        looks, last = stretch.looks, stretch.looks.clip(max=stakes.items[-1] + 1) - 1
        limit, shown = stretch.margins
        passing = stakes.passing(losses, shown, asked=looks[-1])
        blocking = stakes.blocking(losses, limit, asked=looks[-1])
        ever = [np.maximum.accumulate(log, axis=-1)[:, last, None] for log in (passing, blocking)]
        return cls(certain(ever[0], errors[0]), certain(ever[1], errors[1]), blocking[:, last])


@dataclass(frozen=True)
class Ends:
    """How simulated courses end; all shapes are (runs, dimensions)."""

    outcomes: np.ndarray
    """Pass, block or inconclusive; blank if not decided."""
    early: np.ndarray
    """Whether it was decided before the cap."""
    looks: np.ndarray
    """Batches asked."""


def simulate(
    stretches: Sequence[Stretch],
    bets: Sequence[Bets],
    *,
    worse: Callable[[int, int, int], bool] = lambda number, run, look: True,
    at_cap: Callable[[int, int], str] = lambda number, run: "inconclusive",
) -> Ends:
    """Run courses side by side, each as `Course` runs one.

    `worse` says of a dimension, a run and a look whether the published score fell by more than the
    margin, too, and `at_cap` of a dimension and a run what the gate's own bound decides.
    """
    last = np.array([len(stretch.looks) for stretch in stretches])
    costs = np.array([stretch.cost for stretch in stretches])
    looks = np.zeros((len(bets[0].passes), len(bets)), dtype=int)
    outcomes = np.full(looks.shape, "", dtype=object)
    early = np.zeros(looks.shape, dtype=bool)
    log_block = np.zeros(looks.shape)
    while True:
        open_ = (outcomes == "") & ~(outcomes == "block").any(axis=1, keepdims=True)
        going = np.flatnonzero(open_.any(axis=1))
        if not len(going):
            return Ends(outcomes, early, looks)
        first = urgency(log_block[going], error=plans.BLOCK_ERROR, cost=costs)
        first = np.where(looks[going] == 0, np.inf, first)
        chosen = np.where(open_[going], first, -np.inf).argmax(axis=1)
        for number, bet in enumerate(bets):
            active = going[chosen == number]
            before = zip(looks[active, number], log_block[active, number], strict=True)
            looks[active, number] = [stretches[number].after(*place) for place in before]
            at = looks[active, number] - 1
            log_block[active, number] = bet.log_block[active, at]
            passes = bet.passes[active, at]
            blocks = bet.blocks[active, at] & ~passes
            for place in np.flatnonzero(blocks):
                blocks[place] = worse(number, active[place], at[place])
            outcomes[active[passes], number] = "pass"
            outcomes[active[blocks], number] = "block"
            early[active[passes | blocks], number] = True
            for run in active[~passes & ~blocks & (at + 1 == last[number])]:
                outcomes[run, number] = at_cap(number, run)


def forecast(
    plan: StoppingPlan, suite: Suite, *, changed: float = power.CHANGED, runs: int = RUNS
) -> tuple[Forecast, ...]:
    """Return what the plan costs for each of `DROPS`.

    Beside the drop, `changed` is the share of items that change, as often one way as the other.
    """
    designs = [plans.design(suite, row.dimension, seed=plan.seed) for row in plan.stretches]
    stakes = [Stakes.of(order, contrast) for order, contrast, _ in designs]
    asked = [
        np.array([0, *(len(order.rows(look)) for look in row.looks)])
        for row, (order, _, _) in zip(plan.stretches, designs, strict=True)
    ]
    found = []
    for drop in DROPS:
        bets = []
        for number, row in enumerate(plan.stretches):
            order, contrast, _ = designs[number]
            points = contrast.by_face(contrast.coefficients.T)[:, :, 0].sum(axis=1)
            loses = np.arange(runs) % len(designs) == number
            chance = np.where(loses, drop / np.abs(points).sum(), 0.0)[:, None]
            fate = np.random.default_rng(number).random((runs, len(order.items)))
            fates = np.where(fate < chance + changed / 2, 1.0, 0.0) - (fate > 1 - changed / 2)
            losses = np.zeros((runs, len(points)))
            for item, rows in enumerate(order.items[: row.cap]):
                losses[:, list(rows)] = fates[:, [item]] * np.sign(points[list(rows)])
            errors = (plan.pass_error, plan.block_error)
            bets.append(Bets.on(losses, stakes[number], row, errors=errors))
        ends = simulate(plan.stretches, bets)
        items = {
            row.dimension: float(np.array([0, *row.looks])[ends.looks[:, number]].mean())
            for number, row in enumerate(plan.stretches)
        }
        found.append(
            Forecast(
                drop=drop,
                passed=float((ends.outcomes == "pass").all(axis=1).mean()),
                blocked=float((ends.outcomes == "block").any(axis=1).mean()),
                items=items,
                prompts=float(sum(sizes[ends.looks[:, n]].mean() for n, sizes in enumerate(asked))),
                tokens=sum(row.cost * items[row.dimension] for row in plan.stretches),
            )
        )
    return tuple(found)
