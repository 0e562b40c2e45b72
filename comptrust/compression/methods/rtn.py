"""Round to nearest: every weight becomes the nearest of the values that its group can hold."""

from comptrust.compression import engine
from comptrust.compression.base import Module, Quantization, Samples


class Rtn(Quantization):
    """Round to nearest, symmetric: what quantization costs without any calibration.

    The baseline of the papers on quantization, such as GPTQ (Frantar et al. 2023, section 4,
    https://arxiv.org/abs/2210.17323).

    Sample: `{method: rtn, bits: 4, group_size: 64}`
    """

    calibrated = False

    def apply(self, model: Module, samples: Samples) -> None:
        from llmcompressor.modifiers.quantization import QuantizationModifier

        engine.oneshot(
            model, [QuantizationModifier(**self.weights(model, symmetric=True))], samples=samples
        )
