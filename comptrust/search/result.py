"""What a search found: every candidate that was tried, and the winner."""

import operator
from typing import Literal

from pydantic import Field

from comptrust.compression.sensitivity import Sensitivity
from comptrust.records import Finding, Recipe, Record, Result
from comptrust.serving_cost import ServingCost

FILE = "search.json"
"""Artifact of the search's run."""


class Binding(Record):
    """The dimension that decided a candidate, or kept it from passing."""

    dimension: str
    outcome: Result
    margin: float
    """In points."""
    lost: float | None
    """Points that the prompts asked show; None if they give no score."""
    lower: float
    """Points lost at least, with bounds that hold at all looks together."""
    upper: float
    """Points lost at most; bounds do not go beyond the margin."""

    @property
    def words(self) -> str:
        """The points lost and their bounds, such as `2.0 (-3.1 to 5.0)`."""
        lost = "?" if self.lost is None else f"{self.lost:.1f}"
        return f"{lost} ({self.lower:.1f} to {self.upper:.1f})"


class Trial(Record):
    """One candidate on the search part."""

    recipe: Recipe
    bytes: int
    """Size of the weight files."""
    effective_bits: float
    few_bits: float
    """Share, 0-1, of the weights that are compressed with 3 bits or fewer."""
    binding: Binding | None
    """The dimension nearest to its margin, or beyond it; None if nothing was asked."""
    finding: Finding | None = None
    """What another rule than max_drop found; None if the others pass, or nobody asked them."""
    prompts: int
    """Prompts of the search part that it answered."""
    cost: ServingCost | None = Field(default=None, exclude_if=operator.not_)
    """What it costs to serve, if it passed and the search is for speed."""

    @property
    def outcome(self) -> Result:
        """The outcome of all rules: that of the one that binds."""
        found = self.finding or self.binding
        return found.outcome if found else "inconclusive"

    @property
    def binds(self) -> str:
        """The rule or dimension that decided it."""
        if self.finding:
            return self.finding.rule
        return self.binding.dimension if self.binding else ""

    @property
    def why(self) -> str:
        """What decided it, in words."""
        if self.finding:
            return self.finding.reason.rstrip(".")
        one = self.binding
        return f"{one.dimension} lost {one.words} points, margin {one.margin:g}" if one else ""

    @property
    def speed(self) -> float:
        """New tokens a second; 0 if not measured."""
        return (self.cost.tokens_per_second if self.cost else None) or 0.0

    @property
    def words(self) -> str:
        """How it ended: `passed`, `blocked` or `undecided`."""
        return {"pass": "passed", "block": "blocked"}.get(self.outcome, "undecided")


class Searched(Record):
    """A finished search."""

    model: str
    policy: str
    dense_bytes: int
    search_prompts: int
    """Prompts of the search part; the dense model answered all of them."""
    held_prompts: int
    """Prompts that only the winner and the dense model answer."""
    trials: tuple[Trial, ...]
    frontier: tuple[tuple[float, float], ...]
    """Bytes and mean bits of each recipe that could have been tried."""
    sensitivity: Sensitivity
    winner: Recipe | None = None
    """The smallest candidate that passed the search part, judged once on the other part."""
    version: str | None = None
    run: str | None = None
    verdict: Result | Literal["none"] = "none"
    """The policy's verdict on the prompts held back; `none` if no candidate came so far."""

    @property
    def asked(self) -> int:
        """Prompts that candidates answered, the winner's held-back ones included."""
        judged = self.held_prompts if self.winner else 0
        return sum(trial.prompts for trial in self.trials) + judged

    @property
    def binding(self) -> str:
        """The rule or dimension that bound most often among candidates that did not pass."""
        names = [trial.binds for trial in self.trials if trial.outcome != "pass"]
        return max(names, key=lambda name: (names.count(name), name), default="")
