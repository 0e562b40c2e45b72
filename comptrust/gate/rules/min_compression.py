"""Min compression: the candidate must really be smaller than its dense source.

Paper: compression is "a favored strategy for resource-efficient inferences"; what saves nothing has
nothing to weigh against a loss.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from comptrust.gate.base import Evidence, Rule
from comptrust.records import Finding


class MinCompression(Rule):
    """Block when dense bytes / candidate bytes is not above `ratio`.

    - {rule: min_compression, ratio: 1.2}
    """

    name: ClassVar[str] = "min_compression"

    ratio: float = Field(default=1.0, ge=1.0)
    """The size ratio that must be exceeded."""
    count: Literal["stored", "nonzero"] = "stored"
    """`stored`: bytes of the files as they are; `nonzero`: as the paper counts pruning, zeros of
    the compressed layers take no room.
    """

    def check(self, evidence: Evidence) -> Finding:
        """Find block if the measured size was not reduced enough; the dense model itself is
        exempt."""
        checkpoint = evidence.candidate.checkpoint
        if evidence.recipe and evidence.recipe.method == "none":
            return self.found("pass", "Does not apply to the dense model.", applies=False)
        if checkpoint is None:
            return self.found(
                "inconclusive",
                "The candidate's size is unknown (no checkpoint.json). Judge its run or version.",
            )
        if checkpoint.bytes <= 0 or checkpoint.dense_bytes <= 0:
            return self.found("inconclusive", "checkpoint.json gives no size. Compress again.")
        size = checkpoint.bytes * (1 - checkpoint.sparsity if self.count == "nonzero" else 1.0)
        ratio = checkpoint.dense_bytes / size if size > 0 else float("inf")
        unit = "without its zeros" if self.count == "nonzero" else "on disk"
        reason = (
            f"{ratio:.2f} times smaller than dense {unit}; more than {self.ratio:g} is required."
        )
        return self.found(
            "pass" if ratio > self.ratio else "block",
            reason,
            ratio=ratio,
            bytes=checkpoint.bytes,
            dense=checkpoint.dense_bytes,
        )
