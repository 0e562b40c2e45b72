"""Known damage to a model's weights: noise that should change nothing, rounding that ruins it."""

from typing import TYPE_CHECKING

from comptrust.compression.targets import matrices

if TYPE_CHECKING:
    import torch

NOISE = 0.001
"""Standard deviation of the noise as a share of each weight; rounding to bfloat16 errs as much."""
FEW_BITS = 2
GROUP = 32
"""Consecutive weights that share a scale."""


def add_noise(model: "torch.nn.Module", *, seed: int) -> None:
    """Multiply every weight of the linear layers but the head by 1 + 0.1% noise, in place."""
    import torch

    with torch.no_grad():
        for number, weight in enumerate(matrices(model).values()):
            # Drawn on the CPU, so that a seed gives the same noise on every device.
            generator = torch.Generator().manual_seed(1000 * seed + number)
            noise = torch.randn(weight.shape, generator=generator)
            weight.mul_(1 + NOISE * noise.to(weight.device, weight.dtype))


def round_to_few_bits(model: "torch.nn.Module") -> None:
    """Round the same weights to 2 bits (-2, -1, 0 or 1 times the scale of a group), in place.

    A group is 32 consecutive inputs of one output, or the whole row where 32 does not divide it.
    """
    import torch

    largest = 2 ** (FEW_BITS - 1)
    with torch.no_grad():
        for weight in matrices(model).values():
            inputs = weight.shape[-1]
            groups = weight.reshape(-1, inputs if inputs % GROUP else GROUP)
            scale = groups.abs().amax(dim=-1, keepdim=True) / (largest - 0.5)
            codes = (groups / scale.clamp(min=1e-12)).round().clamp(-largest, largest - 1)
            weight.copy_((codes * scale).reshape(weight.shape))
