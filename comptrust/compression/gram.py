"""AWQ's search for scales on Gram matrices: the same loss as on the calibration tokens, at a cost
that they do not enter.

AWQ (Lin et al. 2024, https://arxiv.org/abs/2306.00978, section 3.2) multiplies the input channels
of a layer by scales s before rounding and divides the layer's inputs by them. It looks for the s =
mean|x|^r / mean|w|^(1-r), r from a grid, that keep the layer's outputs nearest (equation 4). With X
the calibration tokens as rows, shape (tokens, in), W the weights, shape (out, in), and Q the
rounding to integers,

    L(s) = || X (Q(W diag(s)) diag(s)^-1 - W)^T ||^2 = || X D^T ||^2 = tr(D X^T X D^T) = sum over
    all entries of (D G) * D,   G = X^T X

G has shape (in, in) and is summed up once while the calibration tokens pass; each r then costs one
product of D and G, where llm-compressor's AWQModifier runs the parent module over all tokens again.
Layers that share an input (q, k and v; gate and up) share G and s, and their losses are added; the
library looks at the output of their parent (attention, MLP) instead.

Scaled or not, a block computes the same, so its output needs no second pass over the tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from compressed_tensors.offload import align_modules, update_offload_parameter
from llmcompressor.modifiers.transform.awq import AWQModifier
from pydantic import PrivateAttr

TOKENS = 1024
"""Tokens that are collected before they are added to G: small products would spend their time on
reading and writing G.
"""
COLUMNS = 192
"""Width of the stripes in which G is kept: of a symmetric matrix only what lies on or above the
diagonal is computed.
"""
ROWS = 256
"""Outputs whose rounding is tried at a time, so that they stay in the processor's cache."""


class Gram:
    """The sum of x^T x and of |x| over tokens x of shape (width,)."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: list[torch.Tensor] = []
        self._stripes: list[torch.Tensor] = []
        self._sizes: torch.Tensor | None = None

    def add(self, inputs: torch.Tensor) -> None:
        """Count in the tokens of a layer's input of shape (..., width)."""
        self._waiting.append(inputs.detach().flatten(0, -2))
        self.count += len(self._waiting[-1])
        if sum(map(len, self._waiting)) >= TOKENS:
            self._flush()

    def mean_size(self) -> torch.Tensor:
        """Return the mean |x| of each channel, shape (width,)."""
        self._flush()
        assert self._sizes is not None
        return self._sizes / self.count

    def loss(self, error: torch.Tensor) -> torch.Tensor:
        """Return the sum of squares of X error^T, for an error of the weights of shape (out,
        width).
        """
        self._flush()
        total = error.new_zeros(())
        for (start, end), stripe in zip(_stripes(error.shape[1]), self._stripes, strict=True):
            own = error[:, start:end]
            total += ((error[:, start:end] @ stripe[start:]) * own).sum()
            if start:  # what lies below the diagonal is the same once more
                total += 2 * ((error[:, :start] @ stripe[:start]) * own).sum()
        return total

    def _flush(self) -> None:
        if not self._waiting:
            return
        rows = torch.cat(self._waiting).float()
        self._waiting.clear()
        width = rows.shape[1]
        if self._sizes is None:
            self._sizes = rows.new_zeros(width)
            self._stripes = [rows.new_zeros(end, end - start) for start, end in _stripes(width)]
        self._sizes += rows.abs().sum(dim=0)
        for (start, end), stripe in zip(_stripes(width), self._stripes, strict=True):
            stripe.addmm_(rows[:, :end].T, rows[:, start:end])


def _stripes(width: int) -> Iterator[tuple[int, int]]:
    for start in range(0, width, COLUMNS):
        yield start, min(start + COLUMNS, width)


def rounded(weight: torch.Tensor, *, bits: int, group_size: int) -> torch.Tensor:
    """Return float32 weights of shape (out, in) as asymmetric integers of `bits` bits, one step and
    zero point a group, give them back.

    The smallest and the largest weight of a group, and zero, stay representable.
    """
    groups = weight.view(len(weight), -1, group_size)
    low, high = (
        groups.amin(dim=-1, keepdim=True).clamp_(max=0),
        groups.amax(dim=-1, keepdim=True).clamp_(min=0),
    )
    step = (high - low).div_(2**bits - 1)
    step[step == 0] = torch.finfo(step.dtype).eps
    zero = (-low / step).round_()
    return (
        (groups / step)
        .add_(zero)
        .round_()
        .clamp_(0, 2**bits - 1)
        .sub_(zero)
        .mul_(step)
        .view_as(weight)
    )


def best(
    candidates: Iterable[torch.Tensor],
    *,
    weights: Sequence[torch.Tensor],
    gram: Gram,
    bits: int,
    group_size: int,
) -> torch.Tensor:
    """Return the scales, shape (in,), with the smallest loss over all weights, shapes (out, in);
    ones if no loss is finite.
    """
    least, chosen = torch.inf, torch.ones_like(weights[0][0], dtype=torch.float32)
    for scales in candidates:
        loss = torch.zeros_like(scales[0])
        for weight in weights:
            for rows in torch.split(weight.float(), ROWS):
                error = (
                    rounded(rows * scales, bits=bits, group_size=group_size).div_(scales).sub_(rows)
                )
                loss += gram.loss(error)
        if float(loss) < least:
            least, chosen = float(loss), scales
    return chosen


class GramAWQ(AWQModifier):
    """llm-compressor's AWQModifier (mappings, grid, scaling of weights and activations) with the
    loss from Gram matrices.

    Reads bits and group size from the scheme of the modifier that quantizes afterwards, which has
    to be asymmetric in groups.
    """

    _grams: dict[str, Gram] = PrivateAttr(default_factory=dict)

    def _setup_activation_cache_hooks(self) -> None:
        for mapping in self._resolved_mappings:
            self.register_hook(
                mapping.activation_hook_target or mapping.balance_layers[0],
                self._adding(mapping.smooth_name),
                "forward",
            )

    def _adding(self, name: str) -> Any:
        def add(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
            self._grams.setdefault(name, Gram()).add(inputs[0])

        return add

    @torch.no_grad()
    def _apply_smoothing(self, model: torch.nn.Module) -> None:
        for mapping in self._resolved_mappings:
            gram = self._grams.pop(mapping.smooth_name, None)
            balance: list[Any] = (
                mapping.balance_layers
            )  # torch's types do not tell a module's parameters
            quantized = [layer for layer in balance if hasattr(layer, "quantization_scheme")]
            if (
                gram is None or not quantized
            ):  # of a block that comes later, an expert that saw no token, layers that stay dense
                continue
            with align_modules([mapping.smooth_layer, *mapping.balance_layers]):
                scheme = quantized[0].quantization_scheme.weights
                scales = best(
                    self._candidates(
                        gram.mean_size(), self._compute_layer_means(quantized).float()
                    ),
                    weights=[layer.weight for layer in quantized],
                    gram=gram,
                    bits=scheme.num_bits,
                    group_size=scheme.group_size,
                )
                for layer in balance:
                    update_offload_parameter(
                        layer, "weight", (layer.weight.float() * scales).to(layer.weight.dtype)
                    )
                for name, value in mapping.smooth_layer.named_parameters(recurse=False):
                    if name in (
                        "weight",
                        "bias",
                    ):  # of a layer that joins q, k and v, the last outputs are v's
                        divisor = torch.cat(
                            [scales.new_ones(len(value) - len(scales)), scales]
                        ).view(-1, *[1] * (value.dim() - 1))
                        update_offload_parameter(
                            mapping.smooth_layer, name, (value.float() / divisor).to(value.dtype)
                        )

    def _candidates(self, sizes: torch.Tensor, weights: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the scales that AWQModifier tries; the first are ones."""
        for ratio, both in self._get_grid_search_params():
            scales = (
                sizes.pow(ratio) / (weights.pow(1 - ratio) + 1e-4) if both else sizes.pow(ratio)
            )
            scales = scales.clamp(min=1e-4)
            scales = scales / (scales.max() * scales.min()).sqrt()
            yield torch.where(scales.isfinite(), scales, 1.0)
