"""SparseGPT: prune by the layer's Hessian and adjust the weights that stay."""

from pydantic import Field

from comptrust.compression import engine
from comptrust.compression.base import Module, Pruning, Samples


class Sparsegpt(Pruning):
    """SparseGPT (Frantar & Alistarh 2023, https://arxiv.org/abs/2301.00774).

    Sample: `{method: sparsegpt, structure: "2:4", options: {dampening: 0.01}}`
    """

    dampening: float = Field(0.01, gt=0, le=1)
    """Share of the Hessian's mean diagonal added to it before inversion."""

    def apply(self, model: Module, samples: Samples) -> list[str]:
        engine.import_quietly()
        from comptrust.compression.modifiers import SparseGpt

        modifier = SparseGpt(**self.masks(model), dampening_frac=self.dampening)
        engine.oneshot(model, [modifier], samples=samples)
        return modifier.fell_back
