"""Full evaluation: a heavily compressed model is asked every prompt, not a sample.

Paper: the increased risk of extreme compression "cannot be uncovered by looking at benign
performance alone, in turn, mandating comprehensive trustworthiness evaluation in practice".
"""

from comptrust.gate.rule import Checkpoint, Evidence, Finding, Recipe, Rule, heavily_compressed
from comptrust.trust.dimensions import dimensions
from comptrust.trust.limit import shown


class FullEvaluation(Rule):
    """Require every dimension and every prompt at few bits or many zeros.

    - {rule: full_evaluation, bits_at_most: 3, sparsity_at_least: 0.5}
    """

    bits_at_most: int = 3
    sparsity_at_least: float = 0.5

    def needs_all(self, recipe: Recipe, record: Checkpoint | None = None) -> bool:
        return heavily_compressed(
            recipe,
            record,
            bits_at_most=self.bits_at_most,
            sparsity_at_least=self.sparsity_at_least,
        )

    def check(self, evidence: Evidence) -> Finding:
        """Return inconclusive if a dimension is absent or the suite was sampled."""
        recipe, suite = evidence.recipe, evidence.candidate.suite
        if recipe is None:
            return self.unknown_recipe()
        if not self.needs_all(recipe, evidence.candidate.checkpoint):
            return self.does_not_apply(recipe.slug)
        measured = {
            score.dimension
            for score in evidence.candidate.scorecard.scores
            if score.value is not None and not score.partial
        }
        missing = [name for name in dimensions() if name not in measured]
        if missing:
            return self.inconclusive(
                f"{recipe.slug} needs all {len(dimensions())} dimensions; not measured:"
                f" {', '.join(missing)}.",
                missing=missing,
            )
        if suite is None:
            return self.inconclusive(
                "Cannot tell whether every prompt was asked: no suite.json beside the scorecard."
            )
        if suite.stopped:
            return self.inconclusive(
                f"{recipe.slug} was not asked every prompt: the evaluation stopped early. Evaluate"
                " it with --stop full."
            )
        if suite.limit is not None:
            return self.inconclusive(
                f"{recipe.slug} was not asked every prompt (limit"
                f" {shown(suite.limit)}). Evaluate it with --limit 100%."
            )
        return self.finding("pass", f"All {len(dimensions())} dimensions were asked in full.")
