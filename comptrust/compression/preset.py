"""Quantization to a layout that llm-compressor has a name for; weights are rounded to nearest."""

from abc import abstractmethod
from typing import Any, Literal

from comptrust.compression import engine
from comptrust.compression.base import Method, Module, Samples
from comptrust.compression.targets import dense_layers, inputs, is_experts, target_layers
from comptrust.errors import UserError

CACHE = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}


class Preset(Method):
    """A fixed number of bits; the scheme says what else is rounded.

    A layout with groups has `group_size`, whose default is its only value.
    """

    kind = "quantization"

    bits: int
    """Bits per weight."""
    kv_cache: Literal["none", "fp8"] = "none"
    """Whether keys and values of attention are rounded too; their scales are calibrated."""

    @abstractmethod
    def preset(self) -> str:
        """Return the library's name for the layout."""

    @property
    def unit(self) -> int:
        """Number of inputs whose activations share a scale; it must divide those of each layer."""
        return 1

    @property
    def static(self) -> bool:
        """Whether activations have scales that calibration texts decide."""
        return False

    @property
    def experts(self) -> bool:
        """Whether transformers computes experts in this layout as servers do."""
        return False

    @property
    def uses_texts(self) -> bool:
        return self.static or self.kv_cache != "none"

    def check(self, model: Module) -> None:
        from compressed_tensors.quantization.lifecycle.initialize import is_cached_attention_module

        kind = type(model).__name__
        if not self.experts and any(map(is_experts, model.modules())):
            raise UserError(
                f"transformers cannot compute the experts of {kind} as {self.preset()} says: it"
                " leaves their activations as they are, or does not read their scales. Use method"
                " gptq, or mxfp4 with scheme w4a16."
            )
        if self.kv_cache != "none":
            cached = [
                name for name, one in model.named_modules() if is_cached_attention_module(one)
            ]
            config: Any = model.config
            if not cached or not hasattr(config.get_text_config(), "num_key_value_heads"):
                raise UserError(
                    f"compressed-tensors cannot round the cache of {kind}. Leave out kv_cache."
                )
            reached, ended = inputs(model)
            for name in cached:
                if ended and not any(layer.startswith(f"{name}.") for layer in reached):
                    raise UserError(
                        f"The cache of {name} cannot be calibrated, since text never reaches it."
                        " Leave out kv_cache."
                    )
        for name, layer in target_layers(model).items():
            if layer.in_features % self.unit:
                raise UserError(
                    f"{self.preset()} cannot divide the {layer.in_features} inputs of layer {name}"
                    f" by {self.unit}. Use another scheme."
                )

    def apply(self, model: Module, samples: Samples) -> list[str] | None:
        from llmcompressor.modifiers.quantization import QuantizationModifier

        cache: dict[str, Any] = {"kv_cache_scheme": CACHE} if self.kv_cache != "none" else {}
        modifier = QuantizationModifier(
            targets=["Linear"], ignore=dense_layers(model), scheme=self.preset(), **cache
        )
        engine.oneshot(model, [modifier], samples=samples)
        return None
