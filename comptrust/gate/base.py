"""What a rule is: it looks at a candidate, its dense baseline and their siblings, and finds pass,
block or inconclusive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from comptrust.records import Finding, Recipe, Result
from comptrust.trust.evaluation import Evaluation


@dataclass(frozen=True)
class Evidence:
    """All that a verdict may rest on."""

    candidate: Evaluation
    baseline: Evaluation | None
    """The dense source, evaluated on the same suite; None when there is none."""
    siblings: tuple[Evaluation, ...] = ()
    """Other compressed versions of the same source, other calibration seeds included."""

    @property
    def recipe(self) -> Recipe | None:
        """The candidate's recipe, or None if only a scorecard is at hand."""
        return self.candidate.recipe

    @property
    def same_model(self) -> bool:
        """Whether candidate and baseline are the very same bytes and answered alike (A/A)."""
        if self.baseline is None or not comparable(self):
            return False
        mine, dense = self.candidate.scorecard, self.baseline.scorecard
        return (mine.checkpoint_digest, mine.generations) == (
            dense.checkpoint_digest,
            dense.generations,
        )


class Rule(BaseModel, ABC):
    """A rule is its parameters; a policy file names it and sets them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    waivable: ClassVar[bool] = False
    """Whether a named human may accept an inconclusive finding of this rule."""

    @abstractmethod
    def check(self, evidence: Evidence) -> Finding:
        """Judge; what is not measured or not comparable is never a pass."""

    def found(self, outcome: Result, reason: str, **evidence: Any) -> Finding:
        """Build this rule's finding."""
        return Finding(rule=self.name, outcome=outcome, reason=reason, evidence=evidence)


def differences(one: Evaluation, other: Evaluation) -> list[str]:
    """Name what makes two evaluations incomparable: suite (prompts, sampling, scoring, scorers) or
    rendering (template, text seen).
    """
    found = []
    if one.scorecard.suite_digest != other.scorecard.suite_digest:
        found.append("suite_digest")
    if one.scorecard.rendering_digest != other.scorecard.rendering_digest:
        found.append("rendering_digest")
    if (one.suite.scoring if one.suite else None) != (other.suite.scoring if other.suite else None):
        found.append("scoring")
    return found


def comparable(evidence: Evidence) -> bool:
    """Whether there is a baseline that answered the same prompts, rendered and scored alike."""
    return evidence.baseline is not None and not differences(evidence.candidate, evidence.baseline)


def heavily_compressed(recipe: Recipe, *, bits_at_most: int, sparsity_at_least: float) -> bool:
    """Whether a recipe has few enough bits or enough zeros to need more evidence."""
    return (recipe.bits is not None and recipe.bits <= bits_at_most) or (
        recipe.sparsity is not None and recipe.sparsity >= sparsity_at_least
    )


def points_lost(dense: float, candidate: float) -> float:
    """Return the drop in points, without the rounding error of binary fractions: 66.4 - 61.4 is
    exactly 5, not more.

    >>> points_lost(66.4, 61.4)
    5.0
    """
    return round(dense - candidate, 9)
