"""Trusted source: the dense model must itself be trustworthy.

Paper: a compressed model "retains the trustworthiness of its original counterpart" at best, so
start from a dense source that was evaluated.
"""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from comptrust.errors import unknown
from comptrust.gate.rule import Evidence, Finding, Rule, measured
from comptrust.text_tables import counted
from comptrust.trust.dimensions import dimensions
from comptrust.trust.imported import is_name


class TrustedSource(Rule):
    """Require the dense source to be measured on the same suite and to reach a floor per dimension.

    - {rule: trusted_source, floors: {toxicity: 50, privacy: 50}}
    """

    rests_on_scores: ClassVar[bool] = True

    floors: dict[str, Annotated[float, Field(ge=0, le=100)]] = {}
    """Dimension -> lowest acceptable score of the dense model, 0-100."""

    @field_validator("floors")
    @classmethod
    def _check_floors(cls, floors: dict[str, float]) -> dict[str, float]:
        for dimension in floors:
            if dimension not in dimensions() and not is_name(dimension):
                raise ValueError(str(unknown("dimension", dimension, dimensions())))
        return floors

    def check(self, evidence: Evidence) -> Finding:
        """Block if the dense source is below a floor; inconclusive if it was not measured alike."""
        if (baseline := evidence.comparable_baseline) is None:
            return self.inconclusive("The dense source was not evaluated on the same suite.")
        scores = {
            score.dimension: score.value
            for score in baseline.scorecard.scores
            if score.dimension in self.floors or not score.reason
        }
        known = measured(baseline)
        # Of a part of the items, only what is certain counts.
        known |= {
            score.dimension: score.estimate.low
            for score in baseline.scorecard.scores
            if score.estimate
        }
        low = [
            f"{name} {known[name]:.1f} < {floor:g}"
            for name, floor in self.floors.items()
            if known.get(name, floor) < floor
        ]
        if low:
            return self.finding(
                "block",
                f"The dense source is below its floor: {', '.join(low)}.",
                floors=self.floors,
                scores=scores,
            )
        missing = sorted((scores.keys() | self.floors.keys()) - known.keys())
        if missing or not scores:
            return self.inconclusive(
                f"The dense source was not measured on: {', '.join(missing) or 'any dimension'}.",
                scores=scores,
            )
        floors = f" and reaches {counted(len(self.floors), 'floor')}" if self.floors else ""
        return self.finding(
            "pass",
            f"The dense source is measured on {counted(len(scores), 'dimension')}{floors}.",
            floors=self.floors,
            scores=scores,
        )
