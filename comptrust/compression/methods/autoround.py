"""AutoRound: learn by gradient descent, block by block, which way to round each weight."""

from functools import partial

from pydantic import Field

from comptrust.compression import engine
from comptrust.compression.base import Module, Quantization, Samples
from comptrust.compression.targets import target_layers
from comptrust.errors import UserError

MULTIPLE = 32
"""auto-round quantizes only layers whose widths are multiples of it."""


class Autoround(Quantization):
    """AutoRound (Cheng et al. 2024, https://arxiv.org/abs/2309.05516), symmetric.

    Sample: `{method: autoround, bits: 4, group_size: 64, options: {iterations: 200}}`
    """

    mixed = False  # the library would round layers that are to stay dense

    iterations: int = Field(200, ge=1)
    """Steps of gradient descent for each block; 200 in the paper."""

    def check(self, model: Module) -> None:
        if hasattr(model.base_model, "build_alibi_tensor"):  # one for all rows of a batch
            raise UserError(
                f"auto-round cannot put texts of {type(model).__name__} together. Use method gptq."
            )
        for name, layer in target_layers(model).items():
            if (layer.in_features % MULTIPLE) or (layer.out_features % MULTIPLE):
                raise UserError(
                    f"auto-round would leave layer {name} dense: {layer.in_features} inputs and"
                    f" {layer.out_features} outputs are not both multiples of {MULTIPLE}. Use"
                    " method gptq."
                )

    def apply(self, model: Module, samples: Samples) -> None:
        engine.import_quietly()
        import torch

        samples = _of_one_length(samples)
        from compressed_tensors.utils import patch_attr
        from llmcompressor.modifiers.autoround import AutoRoundModifier, base

        modifier = AutoRoundModifier(
            **self.weights(model, symmetric=True),
            iters=self.iterations,
            enable_torch_compile=False,  # blocks are small, and it needs a C++ compiler
        )
        # Otherwise a model of 32 bits would come back with 16.
        mixed = next(model.parameters()).dtype != torch.float32
        rounding = partial(base.AutoRound, amp=mixed)
        with patch_attr(base, "AutoRound", rounding), engine.without_messages():
            engine.oneshot(model, [modifier], samples=samples)


def _of_one_length(samples: Samples) -> Samples:
    """Return as many rows of the same tokens, one after another, all of the mean length.

    The library learns from several at once and would pad them. What it learns from padding
    can be worse than rounding to nearest.
    """
    import torch

    length = sum(row.shape[1] for row in samples) // len(samples)
    joined = torch.cat(list(samples), dim=1)
    return list(torch.split(joined[:, : length * len(samples)], length, dim=1))
