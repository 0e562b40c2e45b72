"""The course of a sequential evaluation: what is asked next, what is decided, and when it ends."""

from typing import NamedTuple

from comptrust.gate.sequential.plan import StoppingPlan
from comptrust.records import Record, Result, Suite
from comptrust.trust.base import Table


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
    """After each batch: items, lower and upper bound of the drop in points, valid at any time."""


class Course:
    """Tell it the answers; it says what to ask next. The same answers give the same course."""

    def __init__(self, plan: StoppingPlan, suite: Suite) -> None:
        """Raises UserError if the plan is not one of this suite."""
        raise NotImplementedError

    def next(self) -> Batch | None:
        """Return what to ask next; None if the evaluation ends."""
        raise NotImplementedError

    def tell(self, batch: Batch, candidate: Table, dense: Table) -> None:
        """Take the answers to all prompts of the batch's dimension asked so far, in suite order."""
        raise NotImplementedError

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What is known of each dimension, in the plan's order."""
        raise NotImplementedError

    @property
    def reason(self) -> str:
        """Why it ended, in one sentence; empty while it goes on."""
        raise NotImplementedError
