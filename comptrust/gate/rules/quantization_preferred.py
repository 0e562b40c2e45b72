"""Quantization preferred: a pruned model must not be chosen over a quantized one that is as small
and as trustworthy.

Paper: "quantization is currently a more effective approach than pruning in achieving efficiency and
trustworthiness simultaneously".
"""

from __future__ import annotations

from typing import ClassVar

from comptrust.gate.base import Evidence, Rule, differences
from comptrust.records import Checkpoint, Finding
from comptrust.trust.evaluation import Evaluation


class QuantizationPreferred(Rule):
    """Block a pruned candidate when a quantized sibling is no larger and at least as trustworthy in
    every dimension.

    - {rule: quantization_preferred}
    """

    name: ClassVar[str] = "quantization_preferred"

    def check(self, evidence: Evidence) -> Finding:
        """Find block, naming the better sibling; pass if there is none."""
        recipe, checkpoint = evidence.recipe, evidence.candidate.checkpoint
        if recipe is None:
            return self.found(
                "inconclusive",
                "How the candidate was compressed is unknown (no checkpoint.json). Judge its run or"
                " version.",
            )
        if recipe.bits is not None or recipe.method == "none":
            return self.found("pass", f"Does not apply to {recipe.slug}.", applies=False)
        if checkpoint is None:
            return self.found(
                "inconclusive",
                "The candidate's size is unknown (no checkpoint.json), so no sibling can be"
                " compared with it.",
            )
        compared = [
            one
            for one in evidence.siblings
            if _is_rival(one, checkpoint) and not differences(one, evidence.candidate)
        ]
        for rival in compared:
            if rival.checkpoint and _as_trustworthy(rival, evidence.candidate):
                reason = (
                    f"{rival.checkpoint.recipe.slug} ({rival.ref}) is no larger and at least as"
                    " trustworthy in every dimension."
                )
                return self.found(
                    "block",
                    reason,
                    better=rival.ref,
                    bytes=rival.checkpoint.bytes,
                    own_bytes=checkpoint.bytes,
                )
        return self.found(
            "pass",
            f"None of {len(compared)} quantized siblings of equal or smaller size is better in"
            " every dimension.",
        )


def _is_rival(one: Evaluation, checkpoint: Checkpoint) -> bool:
    if one.checkpoint is None:
        return False
    recipe, own = one.checkpoint.recipe, checkpoint.recipe
    same = recipe.base_model == own.base_model and recipe.revision == own.revision
    return same and recipe.bits is not None and one.checkpoint.bytes <= checkpoint.bytes


def _as_trustworthy(rival: Evaluation, candidate: Evaluation) -> bool:
    for mine in candidate.scorecard.scores:
        other = rival.scorecard.score(mine.dimension)
        if mine.value is None or other is None or other.value is None or other.value < mine.value:
            return False
    return bool(candidate.scorecard.scores)
