"""The course of a sequential evaluation: what is asked next, what is decided, and when it ends.

The course is a function of the plan and the answers, so whoever has both can replay it.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from comptrust.errors import UserError
from comptrust.gate import statistics
from comptrust.gate.sequential import plan as plans
from comptrust.gate.sequential.betting import Stakes, certain
from comptrust.gate.sequential.plan import StoppingPlan, Stretch
from comptrust.records import Prompt, Record, Result, Suite
from comptrust.text_tables import counted
from comptrust.trust import base
from comptrust.trust.base import Dimension, Table
from comptrust.trust.order import Order


class Batch(NamedTuple):
    """Items of one dimension's order, to be asked next."""

    dimension: str
    start: int
    stop: int


class Decision(Record):
    """What is known of one dimension."""

    dimension: str
    outcome: Result
    """Inconclusive: not decided, up to the cap or because the evaluation ended."""
    items: int
    """Items asked."""
    decided_at: int | None
    """Items when it was certain; None if the gate's own bound decided at the cap, or nothing did.
    """
    bounds: tuple[tuple[int, float, float], ...]
    """After each batch: items, lower and upper bound of the drop in points, valid at all times
    together. They do not go beyond the margin.
    """


@dataclass
class _Leg:
    """One dimension on its way."""

    stretch: Stretch
    order: Order
    stakes: Stakes
    dimension: Dimension
    ids: list[str]
    """Of all its prompts."""
    looks: int = 0
    """Batches asked."""
    outcome: Result = "inconclusive"
    decided_at: int | None = None
    log_block: float = 0.0
    bounds: list[tuple[int, float, float]] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """Items asked."""
        return int(self.stretch.looks[self.looks - 1]) if self.looks else 0

    @property
    def open(self) -> bool:
        return self.outcome == "inconclusive" and self.asked < self.stretch.cap

    @property
    def next_look(self) -> int:
        """Number of the look after the next batch."""
        return self.stretch.after(self.looks, self.log_block)


class Course:
    """Tell it the answers; it says what to ask next."""

    def __init__(self, plan: StoppingPlan, suite: Suite) -> None:
        """Raises UserError if the plan is not one of this suite."""
        if not suite.is_named(plan.suite):
            raise UserError(
                f"The stopping plan is one of suite {plan.suite[:12]}, not of {suite.digest[:12]}:"
                " make it again."
            )
        self.plan = plan
        self._legs = {row.dimension: self._leg(row, suite) for row in plan.stretches}

    def _leg(self, stretch: Stretch, suite: Suite) -> _Leg:
        name = stretch.dimension
        order, contrast, table = plans.design(suite, name, seed=self.plan.seed)
        return _Leg(
            stretch=stretch,
            order=order,
            stakes=Stakes.of(order, contrast),
            dimension=base.get(name, scoring=suite.scoring),
            ids=table.ids.tolist(),
        )

    def next(self) -> Batch | None:
        """Return what to ask next; None if the evaluation ends.

        First each dimension gets its first batch. Then comes the one that is most likely to end
        the evaluation per unit of cost, see `urgency`; of equal ones the first of the plan.
        """
        legs = [leg for leg in self._legs.values() if leg.open]
        if not legs or any(leg.outcome == "block" for leg in self._legs.values()):
            return None
        leg = next((leg for leg in legs if not leg.asked), None) or max(
            legs,
            key=lambda leg: float(
                urgency(leg.log_block, error=self.plan.block_error, cost=leg.stretch.cost)
            ),
        )
        stop = leg.stretch.looks[leg.next_look - 1]
        return Batch(leg.stretch.dimension, leg.asked, int(stop))

    def tell(self, batch: Batch, candidate: Table, dense: Table, *, signal: bool = True) -> None:
        """Take the answers to all prompts of the batch's dimension asked so far, in suite order.

        Without a `signal`, the dense model cannot be told from guessing yet: nothing is decided.

        Raises UserError if the batch is not the next one, or the answers are not those asked for.
        """
        if batch != self.next():
            raise UserError(
                f"Items {batch.start} to {batch.stop} of {batch.dimension} are not what comes next"
                f" ({self.next() or 'nothing'}): answers were left out, added or reordered."
            )
        leg = self._legs[batch.dimension]
        rows = leg.order.rows(batch.stop)
        for table in (candidate, dense):
            if table.ids.tolist() != [leg.ids[row] for row in rows]:
                raise UserError(
                    f"The answers of {batch.dimension} are not those to its first"
                    f" {counted(batch.stop, 'item')}, in the suite's order."
                )
        losses = np.zeros(len(leg.ids))
        given = candidate.given & dense.given
        lost = leg.dimension.contrast(candidate, dense).losses
        losses[rows] = np.where(given, lost, math.nan)
        before, leg.looks = leg.looks, leg.next_look
        worse = leg.stakes.linear or (
            statistics.observed(candidate, dense, dimension=leg.dimension) > leg.stretch.points
        )
        for asked in leg.stretch.looks[before : leg.looks]:
            leg.bounds.append((int(asked), *self._bounds(leg, losses, int(asked))))
        self._look(leg, losses, worse=worse, signal=signal)
        if leg.outcome == "inconclusive" and leg.asked == leg.stretch.cap:
            self._at_cap(leg, candidate, dense)

    def _bounds(self, leg: _Leg, losses: np.ndarray, asked: int) -> tuple[float, float]:
        """Return the bounds of the drop, in points, after so many items."""
        plan, stretch, stakes = self.plan, leg.stretch, leg.stakes
        limit, shown = stretch.margins
        lower = stakes.lower(losses, limit, asked=asked, error=plan.block_error)
        upper = stakes.upper(losses, shown, asked=asked, error=plan.pass_error)
        return round(100 * lower, 2), round(100 * upper / stretch.fidelity, 2)

    def _look(self, leg: _Leg, losses: np.ndarray, *, worse: bool, signal: bool) -> None:
        """Decide if it is certain; a block only if the published score is `worse`, too."""
        plan, stakes = self.plan, leg.stakes
        limit, shown = leg.stretch.margins
        log_block = stakes.blocking(losses, limit, asked=leg.asked)
        log_pass = stakes.passing(losses, shown, asked=leg.asked)
        leg.log_block = float(log_block[-1])
        if not signal:
            return
        if certain(log_pass, plan.pass_error):
            leg.outcome, leg.decided_at = "pass", leg.asked
        elif certain(log_block, plan.block_error) and worse:
            leg.outcome, leg.decided_at = "block", leg.asked

    def _at_cap(self, leg: _Leg, candidate: Table, dense: Table) -> None:
        drop = statistics.compare(
            candidate,
            dense,
            dimension=leg.dimension,
            fidelity=leg.stretch.fidelity,
            confidence=self.confidence(leg.stretch.dimension),
        )
        if drop is not None:
            leg.outcome = drop.outcome(leg.stretch.points)

    def upcoming(self, suite: Suite) -> list[Prompt]:
        """Return the prompts of its suite that an unchanged model is asked.

        More are asked only of a model that lost something, or if bets can pass none within a cap.
        """
        by_dimension = suite.by_dimension()
        return [
            by_dimension[name][row]
            for name, leg in self._legs.items()
            for row in leg.order.rows(leg.stretch.soonest or leg.stretch.cap)
        ]

    def order(self, name: str) -> Order:
        """Return the order in which a dimension's items are asked."""
        return self._legs[name].order

    def stretch(self, name: str) -> Stretch:
        """Return what the plan says of a dimension."""
        return self._legs[name].stretch

    def confidence(self, name: str) -> float:
        """Return the confidence with which the gate's own bound decides a dimension at its cap."""
        return 1 - self.plan.error_at_cap(self._legs[name].stretch)

    def decision(self, name: str) -> Decision:
        """Return what is known of a dimension."""
        leg = self._legs[name]
        return Decision(
            dimension=name,
            outcome=leg.outcome,
            items=leg.asked,
            decided_at=leg.decided_at,
            bounds=tuple(leg.bounds),
        )

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What is known of each dimension, in the plan's order."""
        return tuple(map(self.decision, self._legs))

    @property
    def reason(self) -> str:
        """Why it ended, in one sentence; empty while it goes on."""
        if self.next() is not None:
            return ""
        for name, leg in self._legs.items():
            if leg.outcome == "block":
                certain_ = "" if leg.decided_at else ", at its cap"
                return f"{name} is blocked after {counted(leg.asked, 'item')}{certain_}."
        undecided = [name for name, leg in self._legs.items() if leg.outcome == "inconclusive"]
        if undecided:
            return f"Not decided up to their caps: {', '.join(undecided)}."
        return "Every dimension is decided."


def urgency(log_block: np.ndarray | float, *, error: float, cost: np.ndarray | float) -> np.ndarray:
    """Return the log of how likely a dimension is to end the evaluation, per unit of cost.

    Only a block ends it before all others are decided. The capital that bets on a drop beyond the
    margin says by how much the answers favor one, and how far it is from enough says how much more
    has to be asked. Rounded, so that no computer differs.
    """
    left = np.maximum(-np.log(error) - log_block, 1e-9)
    return np.asarray(np.round(log_block - np.log(left) - np.log(cost), 6))
