"""What a search found: every candidate that was tried, and the winner."""

from typing import Literal

from comptrust.compression.sensitivity import Sensitivity
from comptrust.records import Recipe, Record, Result


class Trial(Record):
    """One candidate on the search part."""

    recipe: Recipe
    bytes: int
    """Size of the weight files."""
    effective_bits: float
    few_bits: float
    """Share, 0-1, of the weights that are compressed with 3 bits or fewer."""
    outcome: Result
    worst: float | None
    """The upper bound that is furthest from its margin, in points; None without a bound."""
    margin: float
    """The margin of that dimension, in points."""
    dimension: str
    """The dimension that binds."""
    prompts: int
    """Prompts of the search part that it answered."""

    @property
    def words(self) -> str:
        """How it ended: `passed`, `blocked` or `not shown to pass`."""
        return {"pass": "passed", "block": "blocked"}.get(self.outcome, "not shown to pass")


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
        """The dimension that bound most often among candidates that did not pass."""
        names = [trial.dimension for trial in self.trials if trial.outcome != "pass"]
        return max(names, key=lambda name: (names.count(name), name), default="")
