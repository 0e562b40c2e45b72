"""MXFP4: floats of 4 bits; 32 share a scale that is a power of two."""

from typing import Literal

from comptrust.compression.preset import Preset


class Mxfp4(Preset):
    """MXFP4 (Rouhani et al. 2023, https://arxiv.org/abs/2310.10537).

    Sample: `{method: mxfp4, options: {scheme: w4a16, kv_cache: none}}`
    """

    bits_known = (4,)

    group_size: Literal[32] = 32
    scheme: Literal["w4a4", "w4a16"] = "w4a16"
    """Whether activations are rounded too, with scales of their own for each token."""

    @property
    def experts(self) -> bool:
        return self.scheme == "w4a16"

    def preset(self) -> str:
        return "MXFP4" if self.scheme == "w4a4" else "MXFP4A16"
