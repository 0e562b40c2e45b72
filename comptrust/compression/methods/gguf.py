"""llama.cpp's quantization, in its own file format, GGUF."""

from typing import ClassVar

from comptrust.compression.base import Method, Module, Samples


class Gguf(Method):
    """Weights are rounded as llama.cpp rounds them, when the file is written (gguf_export.py).

    The format says how, such as `gguf:q8_0`. Types with K in their name give each kind of layer
    bits of its own: https://github.com/ggml-org/llama.cpp/tree/master/tools/quantize.

    Sample: `{method: gguf, format: "gguf:q8_0"}`
    """

    kind = "quantization"
    bits_known: ClassVar[tuple[int, ...]] = tuple(range(1, 33))
    calibrated = False

    bits: int
    """Bits in the name of the type; some layers have more."""

    def apply(self, model: Module, samples: Samples) -> None:
        """Leave the model in memory as it is."""
