"""AWQ's search for scales on Gram matrices.

It minimizes the same loss as AWQ, but the cost of a trial does not depend on the number of
calibration tokens.

AWQ (Lin et al. 2024, https://arxiv.org/abs/2306.00978, section 3.2) multiplies the input channels
of a layer's weights by scales s before rounding, and divides the layer's inputs by s. The scales
are s = mean|x|^r / mean|w|^(1-r), where a grid search finds the r that changes the layer's outputs
least (equation 4). Let X be the calibration tokens, shape (tokens, in), W the weights, shape
(out, in), and Q the rounding to integers. With D = Q(W diag(s)) diag(s)^-1 - W, the loss is

    L(s) = || X D^T ||^2 = tr(D G D^T) = sum of all entries of (D G) * D,   where G = X^T X

G has shape (in, in). It is summed up once, while the calibration tokens pass through the model.
Each trial then costs one product of D and G, where llm-compressor's AWQModifier runs the parent
module over all tokens again. Layers that share an input (q, k and v; gate and up) share G and s,
and their losses are added. The library looks at the output of their parent (attention, MLP)
instead.

Scaling does not change what a block computes, so no second pass over the tokens is needed.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from compressed_tensors.offload import align_modules
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.modifiers.transform.awq.mappings import ResolvedMapping
from pydantic import PrivateAttr

from comptrust.compression.smoothing import Pair, scale

TOKENS_PER_UPDATE = 1024
"""Tokens collected before they are added to G; adding few at a time is bound by memory traffic."""
STRIPE_WIDTH = 192
"""Columns of G in one stripe. A stripe ends at the diagonal, because G is symmetric."""
ROWS_PER_TRIAL = 256
"""Outputs rounded at a time, few enough to stay in the processor's cache."""


class Gram:
    """Sums over tokens x of shape (width,): the Gram matrix of x x^T, and |x|.

    The Gram matrix is kept in stripes, by their first column and the one after their last.
    """

    def __init__(self, width: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        self._pending: list[torch.Tensor] = []
        self._sizes = torch.zeros(width, device=device)
        self._stripes = {
            (start, end): torch.zeros(end, end - start, device=device)
            for start, end in pairwise([*range(0, width, STRIPE_WIDTH), width])
        }

    def add(self, inputs: torch.Tensor) -> None:
        """Add the tokens of a layer's input, shape (..., width)."""
        self._pending.append(inputs.detach().flatten(0, -2))
        self.count += len(self._pending[-1])
        if sum(map(len, self._pending)) >= TOKENS_PER_UPDATE:
            self._flush()

    def mean_size(self) -> torch.Tensor:
        """Return the mean |x| of each channel, shape (width,)."""
        self._flush()
        return self._sizes / self.count

    def loss(self, error: torch.Tensor) -> torch.Tensor:
        """Return the sum of squares of X error^T for a weight error of shape (out, width)."""
        self._flush()
        total = error.new_zeros(())
        for (start, end), stripe in self._stripes.items():
            # The stripe holds the rows 0..end of the columns start..end: a block above the
            # diagonal, then the square on it.
            columns = error[:, start:end]
            total += ((columns @ stripe[start:]) * columns).sum()
            if start:
                # The block above the diagonal counts twice, for its mirror image below.
                total += 2 * ((error[:, :start] @ stripe[:start]) * columns).sum()
        return total

    def _flush(self) -> None:
        if not self._pending:
            return
        rows = torch.cat(self._pending).float()
        self._pending.clear()
        self._sizes += rows.abs().sum(dim=0)
        for (start, end), stripe in self._stripes.items():
            stripe.addmm_(rows[:, :end].T, rows[:, start:end])


def rounded(weight: torch.Tensor, *, bits: int, group_size: int) -> torch.Tensor:
    """Return float32 weights, shape (out, in), after rounding to asymmetric `bits`-bit integers.

    Each group has one step and one zero point, chosen so that the smallest weight, the largest and
    zero can be represented.
    """
    groups = weight.view(len(weight), -1, group_size)
    low = groups.amin(dim=-1, keepdim=True).clamp_(max=0)
    high = groups.amax(dim=-1, keepdim=True).clamp_(min=0)
    step = (high - low).div_(2**bits - 1)
    step[step == 0] = torch.finfo(step.dtype).eps
    zero = (-low / step).round_()
    # In place from here: this runs for every trial, and allocating would dominate.
    integers = (groups / step).add_(zero).round_().clamp_(0, 2**bits - 1)
    return integers.sub_(zero).mul_(step).view_as(weight)


def best(
    candidates: Iterable[torch.Tensor],
    *,
    weights: Sequence[torch.Tensor],
    gram: Gram,
    bits: int,
    group_size: int,
) -> torch.Tensor:
    """Return the candidate, shape (in,), with the smallest loss summed over all weights.

    `weights` have shapes (out, in). If no loss is finite, the scales are ones.
    """
    least, chosen = torch.inf, torch.ones_like(weights[0][0], dtype=torch.float32)
    for scales in candidates:
        loss = torch.zeros_like(scales[0])
        for weight in weights:
            for rows in torch.split(weight.float(), ROWS_PER_TRIAL):
                restored = rounded(rows * scales, bits=bits, group_size=group_size).div_(scales)
                loss += gram.loss(restored.sub_(rows))
        if float(loss) < least:
            least, chosen = float(loss), scales
    return chosen


class GramAWQ(AWQModifier):
    """llm-compressor's AWQModifier with the loss from Gram matrices.

    `pairs` says what is scaled; the grid is the library's. Bits and group size come from the scheme
    of the modifier that quantizes afterwards, which must be asymmetric and in groups.
    """

    pairs: list[Pair]
    mappings: list[Any] = []  # what `pairs` replaces
    _grams: dict[str, Gram] = PrivateAttr(default_factory=dict)

    def _set_resolved_mappings(self, model: torch.nn.Module) -> None:
        for pair in self.pairs:
            layers = [model.get_submodule(name) for name in pair.balance]
            parts = pair.smooth, model.get_submodule(pair.smooth), layers, list(pair.balance)
            self._resolved_mappings.append(ResolvedMapping(*parts, parent=model, parent_name=""))

    def _setup_activation_cache_hooks(self) -> None:
        for mapping in self._resolved_mappings:
            self.register_hook(
                mapping.activation_hook_target or mapping.balance_layers[0],
                partial(self._add, mapping.smooth_name),
                "forward",
            )

    def _add(
        self, name: str, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: Any
    ) -> None:
        if name not in self._grams:
            self._grams[name] = Gram(inputs[0].shape[-1], inputs[0].device)
        self._grams[name].add(inputs[0])

    @torch.no_grad()
    def _apply_smoothing(self, model: torch.nn.Module) -> None:
        for mapping in self._resolved_mappings:
            gram = self._grams.pop(mapping.smooth_name, None)
            balance: list[Any] = mapping.balance_layers  # torch does not type module parameters
            quantized = [layer for layer in balance if hasattr(layer, "quantization_scheme")]
            # There is no Gram matrix for a block that has not run yet, or for an expert that no
            # token reached. Layers that stay dense need no scales.
            if gram is None or not quantized:
                continue
            with align_modules([mapping.smooth_layer, *balance]):
                self._scale(mapping.smooth_layer, balance, quantized, gram)

    def _scale(
        self, smooth: torch.nn.Module, balance: list[Any], quantized: list[Any], gram: Gram
    ) -> None:
        """Multiply the balance layers' inputs by the best scales, and divide `smooth`'s outputs."""
        scheme = quantized[0].quantization_scheme.weights
        scales = best(
            self._candidates(gram.mean_size(), self._compute_layer_means(quantized).float()),
            weights=[layer.weight for layer in quantized],
            gram=gram,
            bits=scheme.num_bits,
            group_size=scheme.group_size,
        )
        scale(smooth, balance, scales)

    def _candidates(self, sizes: torch.Tensor, weights: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the scales of the library's grid; the first are ones.

        `sizes` is the mean |x| and `weights` the mean |w| of each input channel, shape (in,).
        """
        for ratio, uses_weights in self._get_grid_search_params():
            scales = sizes.pow(ratio)
            if uses_weights:
                scales = scales / (weights.pow(1 - ratio) + 1e-4)
            scales = scales.clamp(min=1e-4)
            scales = scales / (scales.max() * scales.min()).sqrt()
            yield torch.where(scales.isfinite(), scales, 1.0)
