"""W8A8: weights and activations become integers of 8 bits."""

from comptrust.compression.preset import Preset


class W8a8(Preset):
    """W8A8 (Dettmers et al. 2022, https://arxiv.org/abs/2208.07339, without outlier columns).

    Sample: `{method: w8a8, options: {kv_cache: none}}`
    """

    bits_known = (8,)

    def preset(self) -> str:
        return "W8A8"
