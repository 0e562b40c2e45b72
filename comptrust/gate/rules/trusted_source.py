"""Trusted source: compression keeps what the dense model has, so the dense model must itself be
trustworthy.

Paper: a compressed model "retains the trustworthiness of its original counterpart" at best; start
from a dense source that was evaluated.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import field_validator

from comptrust.errors import unknown
from comptrust.gate.base import Evidence, Rule, comparable
from comptrust.records import Finding
from comptrust.trust.dimensions import dimensions


class TrustedSource(Rule):
    """Require the dense source to be measured on the same digests and to reach a floor per
    dimension.

    - {rule: trusted_source, floors: {toxicity: 50, privacy: 50}}
    """

    name: ClassVar[str] = "trusted_source"

    floors: dict[str, float] = {}
    """Dimension -> least score of the dense model, 0-100."""

    @field_validator("floors")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        for dimension, floor in value.items():
            if dimension not in dimensions():
                raise ValueError(str(unknown("dimension", dimension, dimensions())))
            if not 0 <= floor <= 100:
                raise ValueError(f"the floor of {dimension} must be 0-100")
        return value

    def check(self, evidence: Evidence) -> Finding:
        """Find block if the dense source is below a floor, inconclusive if it was not measured
        alike.
        """
        if evidence.baseline is None or not comparable(evidence):
            return self.found(
                "inconclusive", "The dense source was not evaluated on the same suite."
            )
        scores = {score.dimension: score.value for score in evidence.baseline.scorecard.scores}
        low = {
            name: scores[name]
            for name, floor in self.floors.items()
            if (value := scores.get(name)) is not None and value < floor
        }
        if low:
            listed = ", ".join(
                f"{name} {value:.1f} < {self.floors[name]:g}" for name, value in low.items()
            )
            return self.found(
                "block",
                f"The dense source is below its floor: {listed}.",
                floors=self.floors,
                scores=scores,
            )
        missing = sorted(
            {name for name, value in scores.items() if value is None}
            | {name for name in self.floors if scores.get(name) is None}
        )
        if missing or not scores:
            return self.found(
                "inconclusive",
                f"The dense source was not measured on: {', '.join(missing) or 'any dimension'}.",
                scores=scores,
            )
        reason = (
            f"The dense source is measured on {len(scores)} dimensions and above {len(self.floors)}"
            " floors."
        )
        return self.found("pass", reason, floors=self.floors, scores=scores)
