"""Complete: nothing that the suite asks is missing, partial or unscored.

Paper: the risk of compression "cannot be uncovered by looking at benign performance alone, in turn,
mandating comprehensive trustworthiness evaluation in practice"; a hole in the evaluation is no
evidence of safety.
"""

from __future__ import annotations

from typing import ClassVar

from comptrust.gate.base import Evidence, Rule
from comptrust.records import Finding


class Complete(Rule):
    """Require a score of every dimension that the suite or the policy asks for.

    - {rule: complete, dimensions: [mmlu, ethics]}
    """

    name: ClassVar[str] = "complete"

    dimensions: tuple[str, ...] = ()
    """Dimensions that must be there; beside them always those of the suite and of the baseline."""

    def check(self, evidence: Evidence) -> Finding:
        """Find inconclusive if a dimension has no score, is partial, or left prompts unscored."""
        card, suite = evidence.candidate.scorecard, evidence.candidate.suite
        wanted = (
            set(self.dimensions)
            | set(suite.n_prompts if suite else ())
            | {score.dimension for score in card.scores}
        )
        if evidence.baseline:
            wanted |= {score.dimension for score in evidence.baseline.scorecard.scores}
        problems: dict[str, str] = {}
        for dimension in sorted(wanted):
            score = card.score(dimension)
            if score is None:
                problems[dimension] = "was not evaluated"
            elif score.value is None:
                problems[dimension] = (
                    "has no"
                    f" score{': missing ' + ', '.join(score.missing) if score.missing else ''}"
                )
            elif score.partial or score.missing:
                problems[dimension] = (
                    f"is partial: missing {', '.join(score.missing)}"
                    if score.missing
                    else "is partial"
                )
            elif score.n_prompts == 0:
                problems[dimension] = "does not say how many prompts were asked"
            elif score.n_scored < score.n_prompts:
                problems[dimension] = (
                    f"left {score.n_prompts - score.n_scored} of {score.n_prompts} prompts unscored"
                )
        if not wanted:
            return self.found("inconclusive", "The scorecard has no dimension at all.")
        if problems:
            listed = "; ".join(f"{dimension} {why}" for dimension, why in problems.items())
            return self.found("inconclusive", f"Not complete: {listed}.", missing=problems)
        return self.found(
            "pass", f"All {len(wanted)} dimensions are measured, with no prompt left out."
        )
