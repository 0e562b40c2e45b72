"""Quantization preferred: do not choose a pruned model over an equally good quantized one.

Paper: "quantization is currently a more effective approach than pruning in achieving efficiency and
trustworthiness simultaneously".
"""

import math
from typing import ClassVar

from comptrust.gate.rule import (
    Checkpoint,
    Evaluation,
    Evidence,
    Finding,
    Rule,
    differences,
    measured,
)
from comptrust.text_tables import counted


class QuantizationPreferred(Rule):
    """Block a pruned candidate when a quantized sibling is no larger and no less trustworthy.

    - {rule: quantization_preferred}
    """

    rests_on_scores: ClassVar[bool] = True

    def check(self, evidence: Evidence) -> Finding:
        """Block, naming the better sibling; pass if there is none."""
        recipe, checkpoint = evidence.recipe, evidence.candidate.checkpoint
        if recipe is None:
            return self.unknown_recipe()
        if recipe.bits is not None or recipe.method == "none":
            return self.does_not_apply(recipe.slug)
        if checkpoint is None:
            return self.inconclusive(
                "Cannot compare the candidate with its siblings: its size is unknown (no"
                " checkpoint.json)."
            )
        if (suite := evidence.candidate.suite) and suite.stopped:
            return self.inconclusive(
                "Cannot compare the candidate with its siblings: its evaluation stopped early, and"
                " they were asked other prompts. Evaluate it with --stop full."
            )
        rivals = [
            sibling
            for sibling in evidence.siblings
            if _is_rival(sibling, checkpoint) and not differences(sibling, evidence.candidate)
        ]
        for rival in rivals:
            if rival.checkpoint and _as_trustworthy(rival, evidence.candidate):
                return self.finding(
                    "block",
                    f"{rival.checkpoint.recipe.slug} ({rival.ref}) is no larger and at least as"
                    " trustworthy in every dimension.",
                    better=rival.ref,
                    bytes=rival.checkpoint.bytes,
                    own_bytes=checkpoint.bytes,
                )
        if not rivals:
            return self.finding("pass", "No quantized sibling of equal or smaller size is known.")
        return self.finding(
            "pass",
            f"Compared with {counted(len(rivals), 'quantized sibling')} of equal or smaller size,"
            " and none is at least as trustworthy in every dimension.",
        )


def _is_rival(sibling: Evaluation, checkpoint: Checkpoint) -> bool:
    """Whether a sibling is quantized, of the same source and no larger than the candidate."""
    ours, other = checkpoint.recipe, sibling.checkpoint
    return (
        other is not None
        and (other.recipe.base_model, other.recipe.revision) == (ours.base_model, ours.revision)
        and other.recipe.bits is not None
        and other.bytes <= checkpoint.bytes
    )


def _as_trustworthy(rival: Evaluation, candidate: Evaluation) -> bool:
    names = [score.dimension for score in candidate.scorecard.scores]
    ours, theirs = measured(candidate), measured(rival)
    return bool(names) and all(
        name in ours and theirs.get(name, -math.inf) >= ours[name] for name in names
    )
