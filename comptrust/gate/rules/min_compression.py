"""Min compression: the candidate must be smaller than its dense source.

Paper: compression is "a favored strategy for resource-efficient inferences"; a model that saves
nothing has nothing to weigh against a loss.
"""

from typing import Literal

from pydantic import Field

from comptrust.gate.rule import Evidence, Finding, Rule


class MinCompression(Rule):
    """Block unless dense bytes / candidate bytes is above `ratio`.

    - {rule: min_compression, ratio: 1.2}
    """

    ratio: float = Field(default=1.0, ge=1.0)
    """The size ratio that must be exceeded."""
    count: Literal["stored", "nonzero"] = "stored"
    """`stored`: bytes of the files; `nonzero`: without the zeros of a pruned model, as the paper
    counts. Zeros among packed integers are stored like any other and always count.
    """

    def check(self, evidence: Evidence) -> Finding:
        """Block if the measured size is too large; the dense model itself is exempt."""
        checkpoint = evidence.candidate.checkpoint
        if evidence.recipe and evidence.recipe.method == "none":
            return self.does_not_apply("the dense model")
        if checkpoint is None:
            return self.inconclusive(
                "The candidate's size is unknown: no checkpoint.json. Judge its run or version"
                " instead."
            )
        if checkpoint.bytes <= 0 or checkpoint.dense_bytes <= 0:
            return self.inconclusive("checkpoint.json states no size. Compress the model again.")
        size, unit = float(checkpoint.bytes), "on disk"
        if self.count == "nonzero" and checkpoint.recipe.bits is None:
            on_disk = checkpoint.dense_bytes / size
            size *= 1 - checkpoint.sparsity
            unit = f"without its zeros (on disk: {on_disk:.2f} times)"
        ratio = checkpoint.dense_bytes / size if size > 0 else float("inf")
        return self.finding(
            "pass" if ratio > self.ratio else "block",
            f"The dense model is {ratio:.2f} times the candidate's size {unit}; required: more than"
            f" {self.ratio:.2f} times.",
            ratio=ratio,
            bytes=checkpoint.bytes,
            dense=checkpoint.dense_bytes,
        )
