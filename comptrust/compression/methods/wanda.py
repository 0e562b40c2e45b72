"""Wanda: the weights with the smallest product of magnitude and input norm become zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comptrust.compression import engine
from comptrust.compression.base import Pruning

if TYPE_CHECKING:
    import torch


class Wanda(Pruning):
    """Wanda (Sun et al. 2024, https://arxiv.org/abs/2306.11695).

    Sample: `{method: wanda, structure: "2:4"}`
    """

    def apply(self, model: torch.nn.Module, samples: list[torch.Tensor]) -> None:
        """Prune in place."""
        from llmcompressor.modifiers.pruning import WandaPruningModifier

        modifier = WandaPruningModifier(
            sparsity=self.sparsity,
            mask_structure=self.mask_structure(),
            targets=["Linear"],
            ignore=["re:.*lm_head"],
        )
        engine.oneshot(model, [modifier], samples=samples)
