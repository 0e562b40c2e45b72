"""What a search is to find, among what, and with which means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from comptrust.records import Suite
from comptrust.workflow import job

Objective = Literal["size", "latency"]


@dataclass(frozen=True)
class Budget:
    """When to stop trying candidates."""

    candidates: int = 8
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A search whose inputs were checked."""

    job: job.Job
    """How the winner is judged: its suite is the part held back, its recipe has the fewest bits."""
    whole: Suite
    """Of which the search asks the rest."""
    widths: Sequence[int]
    """Bits that a unit may get; 16 leaves it dense."""
    budget: Budget = Budget()
    objective: Objective = "size"
    """What makes a winner of the candidates that pass: fewest bytes, or the most tokens a second.
    """
    address: str = "serial"
    at_once: int = 1
    """Candidates asked side by side, at the address."""
