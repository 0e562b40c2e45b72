"""AutoRound: learn by gradient descent, block by block, which way to round each weight."""

from functools import partial

from pydantic import Field

from comptrust.compression import engine
from comptrust.compression.base import Module, Quantization, Samples


class Autoround(Quantization):
    """AutoRound (Cheng et al. 2024, https://arxiv.org/abs/2309.05516), symmetric.

    Sample: `{method: autoround, bits: 4, group_size: 64, options: {iterations: 200}}`
    """

    mixed = False  # the library would round layers that are to stay dense

    iterations: int = Field(200, ge=1)
    """Steps of gradient descent for each block; 200 in the paper."""

    def apply(self, model: Module, samples: Samples) -> None:
        engine.import_quietly()
        import torch
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
