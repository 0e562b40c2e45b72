"""Full evaluation: a heavily compressed model is asked everything, not a sample.

Paper: the increased risk of extreme compression "cannot be uncovered by looking at benign
performance alone, in turn, mandating comprehensive trustworthiness evaluation in practice".
"""

from __future__ import annotations

from typing import ClassVar

from comptrust.gate.base import Evidence, Rule, heavily_compressed
from comptrust.records import Finding
from comptrust.trust.dimensions import dimensions


class FullEvaluation(Rule):
    """Require all nine dimensions without --limit at few bits or many zeros.

    - {rule: full_evaluation, bits_at_most: 3, sparsity_at_least: 0.5}
    """

    name: ClassVar[str] = "full_evaluation"

    bits_at_most: int = 3
    sparsity_at_least: float = 0.5

    def check(self, evidence: Evidence) -> Finding:
        """Find inconclusive if a dimension is absent or the suite was cut short."""
        recipe, suite = evidence.recipe, evidence.candidate.suite
        if recipe is None:
            return self.found(
                "inconclusive",
                "How the candidate was compressed is unknown (no checkpoint.json). Judge its run or"
                " version.",
            )
        if not heavily_compressed(
            recipe, bits_at_most=self.bits_at_most, sparsity_at_least=self.sparsity_at_least
        ):
            return self.found("pass", f"Does not apply to {recipe.slug}.", applies=False)
        scores = {
            score.dimension
            for score in evidence.candidate.scorecard.scores
            if score.value is not None and not score.partial
        }
        missing = [name for name in dimensions() if name not in scores]
        if missing:
            return self.found(
                "inconclusive",
                f"{recipe.slug} needs all nine dimensions; not measured: {', '.join(missing)}.",
                missing=missing,
            )
        if suite is None:
            return self.found(
                "inconclusive",
                "Whether the suite was asked in full is unknown (no suite.json beside the"
                " scorecard).",
            )
        if suite.limit is not None:
            return self.found(
                "inconclusive",
                f"{recipe.slug} was asked only {suite.limit} prompts a scenario. Evaluate without"
                " --limit.",
            )
        return self.found("pass", "All nine dimensions were asked in full.")
