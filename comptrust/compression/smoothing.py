"""Where AWQ may scale: found from what a model computes, so that no family needs a list.

Scaling multiplies the inputs of some layers by s and divides what produces these inputs by s. That
changes nothing if the producer is a norm that feeds only these layers, or a layer whose output
reaches the next one in proportion (v to o in attention, up to down in an MLP). One short text goes
through the model to see which layers read what; then every kind of pair is tried with scales that
are powers of two, which floating-point numbers multiply exactly. Pairs that change the logits are
dropped.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from compressed_tensors.quantization import disable_quantization, enable_quantization
from llmcompressor.modeling.moe.context import moe_calibration_context
from llmcompressor.modeling.offset_norm import NormCalibrationModule, norm_calibration_context

from comptrust.compression.targets import target_layers
from comptrust.errors import ServiceError, UserError

LENGTH = 32
"""Tokens of the text that is tried."""
TOLERANCE = 1e-3
"""Largest change of a logit, as a share of the largest logit, that counts as none."""

NOISE, NOISE_OF_16_BITS = 1e-3, 0.05
"""The same for the final scales, which are no powers of two, in float32 and in 16 bits."""


@dataclass(frozen=True)
class Pair:
    """A producer and the layers that read what it produces."""

    smooth: str
    balance: tuple[str, ...]

    @property
    def kind(self) -> tuple[str, ...]:
        """The names without numbers: the same in all blocks and experts."""
        return tuple(sorted({re.sub(r"\d+", "#", name) for name in (self.smooth, *self.balance)}))


@NormCalibrationModule.register("NemotronLayerNorm1P")
class _LayerNorm1P(NormCalibrationModule):
    """A norm that multiplies by 1 + weight, as one that multiplies by its weight."""

    def __init__(self, original: Any, config: object) -> None:
        super().__init__()
        self.eps, self.bias = original.eps, original.bias
        self.weight = torch.nn.Parameter(original.weight.data + 1, requires_grad=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.layer_norm(
            values, self.weight.shape, self.weight, self.bias, self.eps
        )

    def restore(self, original: Any) -> Any:
        original.weight.data = self.weight.data - 1
        return original


def pairs(model: Any, ids: torch.Tensor) -> list[Pair]:
    """Return the pairs that may be scaled, in the order in which their producers compute.

    `ids` are the token ids of a text, shape (1, length). Raises UserError if there are none.
    """
    ids = ids[:, :LENGTH].to(model.device)
    with torch.no_grad(), norm_calibration_context(model), moe_calibration_context():
        candidates, order = _candidates(model, ids)
        dense = model(ids).logits.float()
        limit = TOLERANCE * float(dense.abs().max())
        kinds: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
        for pair in candidates:
            kinds[pair.kind].append(pair)
        chosen: dict[str, Pair] = {}
        for group in kinds.values():
            if any(name in chosen for name in group[0].balance):
                continue
            with _scaled(model, group):
                change = float((model(ids).logits.float() - dense).abs().max())
            if change <= limit:
                chosen |= {name: pair for pair in group for name in pair.balance}
    if not chosen:
        raise UserError(
            f"AWQ finds nothing to scale in {type(model).__name__}: no layer's inputs come from a"
            " norm or a layer that could be divided. Use method gptq."
        )
    return sorted(set(chosen.values()), key=lambda pair: order[pair.smooth])


def scale(smooth: Any, layers: Iterable[Any], scales: torch.Tensor) -> None:
    """Multiply the inputs of the layers by scales, shape (in,), and divide what produces them."""
    for layer in layers:
        layer.weight.copy_((layer.weight.float() * scales).to(layer.weight.dtype))
    for name, value in smooth.named_parameters(recurse=False):
        if name not in ("weight", "bias"):
            continue
        # In a layer that computes q, k and v together, only the last outputs are v's.
        others = scales.new_ones(len(value) - len(scales))
        divisor = torch.cat([others, scales]).view(-1, *[1] * (value.dim() - 1))
        value.copy_((value.float() / divisor).to(value.dtype))


@contextmanager
def unchanged(model: Any, ids: torch.Tensor) -> Iterator[None]:
    """Compare the logits before and after scaling, without the rounding.

    Raises ServiceError if they differ.
    """
    ids = ids[:, :LENGTH].to(model.device)
    with torch.no_grad():
        before = model(ids).logits.float()
        yield
        model.apply(disable_quantization)
        after = model(ids).logits.float()
        model.apply(enable_quantization)
    share = float((after - before).abs().max() / before.abs().max())
    noise = NOISE if model.dtype == torch.float32 else NOISE_OF_16_BITS
    if not share <= noise:  # also true of NaN
        raise ServiceError(
            f"AWQ's scaling changed what {type(model).__name__} computes: logits differ by"
            f" {share:.1%} before any rounding. Nothing was kept; use method gptq."
        )


@contextmanager
def _scaled(model: Any, group: list[Pair]) -> Iterator[None]:
    """Scale pairs by random powers of two for a while."""
    generator = torch.Generator().manual_seed(0)
    undo = []
    for pair in group:
        smooth = model.get_submodule(pair.smooth)
        layers = [model.get_submodule(name) for name in pair.balance]
        width = layers[0].weight.shape[1]
        scales = 2.0 ** torch.randint(-1, 2, (width,), generator=generator)
        scales = scales.to(layers[0].weight.device)
        scale(smooth, layers, scales)
        undo.append((smooth, layers, 1 / scales))
    try:
        yield
    finally:
        for smooth, layers, scales in undo:
            scale(smooth, layers, scales)


def _candidates(model: Any, ids: torch.Tensor) -> tuple[list[Pair], dict[str, int]]:
    """Return pairs to try, and the order in which modules compute."""
    targets = target_layers(model)
    read: dict[str, torch.Tensor] = {}
    made: dict[str, torch.Tensor] = {}  # kept, so that no memory is used twice
    matrices: dict[str, Any] = {}

    def note(name: str) -> Any:
        def hook(module: Any, args: tuple[Any, ...], output: Any) -> None:
            if args and torch.is_tensor(args[0]) and torch.is_tensor(output):
                read[name], made[name] = args[0], output
            elif args and torch.is_tensor(args[0]):
                read[name] = args[0]

        return hook

    hooks = []
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.nn.Parameter) and not list(module.children()):
            matrices[name] = module
            hooks.append(module.register_forward_hook(note(name)))
    try:
        model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    order = {name: number for number, name in enumerate(read)}
    found = []
    for name in made:
        if matrices[name].weight.dim() == 1:
            place, size = made[name].data_ptr(), made[name].numel()
            readers = tuple(
                reader
                for reader, value in read.items()
                if value.data_ptr() == place
                and value.numel() == size
                and reader != name
                and matrices[reader].weight.dim() == 2
            )
            # a norm of each head has fewer weights than the next layer has inputs
            wide = all(len(matrices[name].weight) == matrices[r].weight.shape[1] for r in readers)
            if wide and any(reader in targets for reader in readers):
                found.append(Pair(name, readers))
    by_parent: dict[str, list[str]] = defaultdict(list)
    for name in (name for name in order if name in targets):
        by_parent[name.rpartition(".")[0]].append(name)
    for names in by_parent.values():
        for place, later in enumerate(names):
            width = targets[later].weight.shape[1]
            # the nearest one first: up before gate, v before k and q
            for name in reversed(names[:place]):
                fed = read[later].data_ptr() != read[name].data_ptr()
                if fed and len(targets[name].weight) >= width:
                    found.append(Pair(name, (later,)))
    return found, order
