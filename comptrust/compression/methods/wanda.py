"""Wanda: the weights with the smallest product of magnitude and input norm become zero."""

from comptrust.compression import engine
from comptrust.compression.base import Module, Pruning, Samples


class Wanda(Pruning):
    """Wanda (Sun et al. 2024, https://arxiv.org/abs/2306.11695).

    Sample: `{method: wanda, structure: "2:4"}`
    """

    def apply(self, model: Module, samples: Samples) -> None:
        from llmcompressor.modifiers.pruning import WandaPruningModifier

        engine.oneshot(model, [WandaPruningModifier(**self.masks())], samples=samples)
