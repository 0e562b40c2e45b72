"""NVFP4: floats of 4 bits; 16 share a scale of 8 bits, and a layer one of 32 bits."""

from contextlib import suppress
from functools import partial
from typing import Literal

from comptrust.compression.base import Module
from comptrust.compression.preset import Preset
from comptrust.compression.targets import target_layers
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
        if self.static and (name := _deeper(model)):
            raise UserError(
                f"llm-compressor cannot calibrate the activations of layer {name}, whose inputs"
                " have more than three dimensions. Use option scheme=w4a16, or method fp8."
            )

    def preset(self) -> str:
        return "NVFP4" if self.scheme == "w4a4" else "NVFP4A16"


def _deeper(model: Module) -> str:
    """Return the first layer whose inputs are more than (rows, tokens, width), '' if none is.

    A skeleton that cannot be run says nothing, and is taken as usual.
    """
    import torch

    deeper: list[str] = []

    def look(name: str, _: Module, args: tuple[torch.Tensor, ...]) -> None:
        if args[0].dim() > 3:
            deeper.append(name)

    layers = target_layers(model).items()
    hooks = [layer.register_forward_pre_hook(partial(look, name)) for name, layer in layers]
    with suppress(Exception), torch.no_grad():
        device = next(model.parameters()).device
        # with a mask of four dimensions, nothing looks at the values of a skeleton
        mask = torch.zeros(1, 1, 4, 4, device=device)
        ids = torch.zeros(1, 4, dtype=torch.long, device=device)
        model(ids, attention_mask=mask, use_cache=False)
    for hook in hooks:
        hook.remove()
    return next(iter(deeper), "")
