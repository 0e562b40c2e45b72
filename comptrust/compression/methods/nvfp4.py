"""NVFP4: floats of 4 bits; 16 share a scale of 8 bits, and a layer one of 32 bits."""

from typing import Literal

from comptrust.compression.base import Module
from comptrust.compression.preset import Preset
from comptrust.compression.targets import inputs
from comptrust.errors import UserError


class Nvfp4(Preset):
    """NVFP4 (NVIDIA 2025, https://arxiv.org/abs/2509.25149).

    Sample: `{method: nvfp4, options: {scheme: w4a4, kv_cache: none}}`
    """

    bits_known = (4,)

    group_size: Literal[16] = 16
    scheme: Literal["w4a4", "w4a16"] = "w4a4"
    """Whether activations are rounded too, which needs a calibrated scale for each layer."""

    @property
    def static(self) -> bool:
        return self.scheme == "w4a4"

    def check(self, model: Module) -> None:
        super().check(model)
        for name, calls in inputs(model)[0].items() if self.static else ():
            if max(calls) > 3:
                raise UserError(
                    f"llm-compressor cannot calibrate the activations of layer {name}, whose inputs"
                    " have more than three dimensions. Use option scheme=w4a16, or method fp8."
                )

    def preset(self) -> str:
        return "NVFP4" if self.scheme == "w4a4" else "NVFP4A16"
