"""SparseGPT: prune by the layer's Hessian and adjust the weights that stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from comptrust.compression import engine
from comptrust.compression.base import Pruning

if TYPE_CHECKING:
    import torch


class Sparsegpt(Pruning):
    """SparseGPT (Frantar & Alistarh 2023, https://arxiv.org/abs/2301.00774).

    Sample: `{method: sparsegpt, structure: "2:4", options: {dampening: 0.01}}`
    """

    dampening: float = Field(0.01, gt=0, le=1)
    """Share of the Hessian's mean diagonal added to it before inversion."""

    def apply(self, model: torch.nn.Module, samples: list[torch.Tensor]) -> None:
        """Prune in place."""
        from llmcompressor.modifiers.pruning import SparseGPTModifier

        modifier = SparseGPTModifier(
            sparsity=self.sparsity,
            mask_structure=self.mask_structure(),
            dampening_frac=self.dampening,
            targets=["Linear"],
            ignore=["re:.*lm_head"],
        )
        engine.oneshot(model, [modifier], samples=samples)
