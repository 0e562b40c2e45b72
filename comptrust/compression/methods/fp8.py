"""FP8: weights and activations become floats of 8 bits (E4M3)."""

from typing import Literal

from comptrust.compression.base import Module, Samples
from comptrust.compression.methods.sparsegpt import Sparsegpt
from comptrust.compression.preset import Preset


class Fp8(Preset):
    """FP8 (Micikevicius et al. 2022, https://arxiv.org/abs/2209.05433): dynamic, block or static.

    With a structure, SparseGPT prunes first, and zeros stay zeros.

    Sample: `{method: fp8, options: {scheme: dynamic, kv_cache: none}}`
    """

    bits_known = (8,)

    scheme: Literal["dynamic", "block", "static"] = "dynamic"
    """Scales for each channel and token, each block of 128 x 128, or each layer, calibrated."""

    structure: Literal["2:4"] | None = None
    """Which weights are pruned first: of four, the two that matter less; by default none."""

    @property
    def uses_texts(self) -> bool:
        return super().uses_texts or self.structure is not None

    def apply(self, model: Module, samples: Samples) -> list[str]:
        fell_back: list[str] = []
        if self.structure:
            fell_back = Sparsegpt(structure=self.structure, dampening=0.01).apply(model, samples)
        super().apply(model, samples if super().uses_texts else [])
        return fell_back

    @property
    def static(self) -> bool:
        return self.scheme == "static"

    @property
    def unit(self) -> int:
        return 128 if self.scheme == "block" else 1

    def preset(self) -> str:
        return {"dynamic": "FP8_DYNAMIC", "block": "FP8_BLOCK", "static": "FP8"}[self.scheme]
