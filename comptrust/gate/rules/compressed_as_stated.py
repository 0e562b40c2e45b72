"""Compressed as stated: the recipe's method must have reached the weights that it names.

Layers can stay dense because a library overlooks them, or get a simpler method because the stated
one failed on them. The scores are then those of another model than the recipe describes.
"""

from pydantic import Field

from comptrust.gate.rule import Evidence, Finding, Rule
from comptrust.records import DENSE_BITS


class CompressedAsStated(Rule):
    """Be inconclusive above `percent` of weights that were not compressed as the recipe says.

    - {rule: compressed_as_stated, percent: 1}
    """

    percent: float = Field(default=1.0, ge=0, le=100)
    """Largest share of the weights of attention, MLP and experts, in percent."""

    def check(self, evidence: Evidence) -> Finding:
        """Pass up to the limit; the dense model itself is exempt."""
        checkpoint = evidence.candidate.checkpoint
        if evidence.recipe and evidence.recipe.method == "none":
            return self.does_not_apply("the dense model")
        if checkpoint is None:
            return self.unknown_recipe()
        parts = [part for part in checkpoint.parts if part.linear]
        total = sum(part.weights for part in parts)
        if not total:
            return self.inconclusive(
                "checkpoint.json does not say which weights were compressed. Compress or register"
                " the model again."
            )
        dense = {part.kind: part.weights - part.compressed for part in parts}
        simpler = sum(checkpoint.fell_back.values())
        # Each layer of a mixed checkpoint was compared with its recipe (measure.check).
        mixed = checkpoint.recipe.layer_bits
        meant = checkpoint.weights_at.get(DENSE_BITS, 0) if mixed else 0
        percent = 100 * (sum(dense.values()) - meant + simpler) / total
        left = ", ".join(f"{kind} {count:,}" for kind, count in dense.items() if count)
        left += f", of which the recipe means {meant:,}" if meant else ""
        details = f"left dense: {left or 'none'}; by a simpler method: {simpler:,}"
        return self.finding(
            "pass" if percent <= self.percent else "inconclusive",
            f"{percent:.1f}% of {total:,} weights were not compressed as the recipe states"
            f" ({details}); allowed: {self.percent:g}%.",
            dense=dense,
            fell_back=checkpoint.fell_back,
            weights=total,
        )
