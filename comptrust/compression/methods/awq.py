"""AWQ: scale up the channels with large activations, then round."""

from pydantic import Field

from comptrust.compression import engine
from comptrust.compression.base import Module, Quantization, Samples


class Awq(Quantization):
    """AWQ (Lin et al. 2024, https://arxiv.org/abs/2306.00978), asymmetric.

    The search for scales is our own, see compression/gram.py.

    Sample: `{method: awq, bits: 4, group_size: 64, options: {grid: 20}}`
    """

    grid: int = Field(20, ge=3)
    """Number of scales tried for the layers that share an input; 20 in the paper."""

    def apply(self, model: Module, samples: Samples) -> None:
        engine.import_quietly()
        from llmcompressor.modifiers.quantization import QuantizationModifier

        from comptrust.compression.gram import GramAWQ
        from comptrust.compression.smoothing import pairs, unchanged

        text = samples[0]
        with unchanged(model, text):
            modifiers = [
                GramAWQ(n_grid=self.grid, pairs=pairs(model, text)),
                QuantizationModifier(**self.weights(model, symmetric=False)),
            ]
            engine.oneshot(model, modifiers, samples=samples, changes_outputs=False)
