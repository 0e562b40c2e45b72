"""Wanda: the weights with the smallest product of magnitude and input norm become zero."""

from comptrust.compression import engine
from comptrust.compression.base import Module, Pruning, Samples


class Wanda(Pruning):
    """Wanda (Sun et al. 2024, https://arxiv.org/abs/2306.11695).

    Sample: `{method: wanda, structure: "2:4"}`
    """

    def apply(self, model: Module, samples: Samples) -> None:
        engine.import_quietly()
        from comptrust.compression.modifiers import Wanda as Modifier

        engine.oneshot(model, [Modifier(**self.masks(model))], samples=samples)
