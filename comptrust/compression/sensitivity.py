"""How much each part of a model suffers from fewer bits, measured once from the dense model.

Layers that read the same input (q, k and v; gate and up) and the experts of a block are one unit:
servers fuse them, so they need the same bits. For a rounding error D of a unit's weights W and its
inputs X, the loss is the relative error of its outputs,

    || X D^T ||^2 / || X W^T ||^2

from the Gram matrix of X, which one pass over the calibration texts sums up (gram.py).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from comptrust import config, digests
from comptrust.records import Record

if TYPE_CHECKING:
    import torch

    from comptrust.compression.gram import Gram

EXPERT = re.compile(r"(.*\bexperts)\.\d+\..*")
ROWS = 512
"""Outputs rounded at a time."""


class Unit(Record):
    """Layers that get the same bits."""

    layers: tuple[str, ...]
    weights: int
    losses: dict[int, float]
    """Bits -> loss of rounding to so many; a unit that no calibration token reached has the largest
    of all units.
    """

    @property
    def name(self) -> str:
        """The layers in a few characters, such as `layers.3.mlp.gate_proj+up_proj`."""
        parent = self.layers[0].rpartition(".")[0]
        leaves = dict.fromkeys(layer.rpartition(".")[2] for layer in self.layers)
        return f"{parent.removeprefix('model.')}.{'+'.join(leaves)}"


class Sensitivity(Record):
    """All units of a model, in the order in which it computes them."""

    group_size: int
    calibration_tokens: int
    units: tuple[Unit, ...]


def cached(key: str, measure: Callable[[], Sensitivity]) -> Sensitivity:
    """Return what was measured before under this key, else measure and keep it."""
    path = config.cache_dir() / "sensitivity" / f"{key}.json"
    if path.exists():
        return config.load_json(path, Sensitivity)
    measured = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    digests.write_atomic(path, measured.model_dump_json(indent=1) + "\n")
    return measured


def measure(
    model: torch.nn.Module,
    samples: Sequence[torch.Tensor],
    *,
    bits: Sequence[int],
    group_size: int,
) -> Sensitivity:
    """Measure every unit at every number of bits; `samples` are token ids of shape (1, length)."""
    import torch

    from comptrust.compression.targets import take_apart, target_layers

    take_apart(model)
    layers = target_layers(model)
    grams, members = _grams(model, layers, samples)
    with torch.no_grad():
        losses = {
            first: {
                width: _loss(
                    [layers[name].weight for name in names], grams, names, width, group_size
                )
                for width in bits
            }
            for first, names in members.items()
        }
    worst = {
        width: max((loss for row in losses.values() if (loss := row[width]) is not None), default=1)
        for width in bits
    }
    return Sensitivity(
        group_size=group_size,
        calibration_tokens=sum(ids.shape[1] for ids in samples),
        units=tuple(
            Unit(
                layers=tuple(names),
                weights=sum(layers[name].weight.numel() for name in names),
                losses={
                    width: worst[width] if loss is None else loss
                    for width, loss in losses[first].items()
                },
            )
            for first, names in members.items()
        ),
    )


def _grams(
    model: torch.nn.Module, layers: dict[str, Any], samples: Sequence[torch.Tensor]
) -> tuple[dict[str, Gram], dict[str, list[str]]]:
    """Return the Gram matrix of each layer's inputs, shared in a unit, and the units' layers."""
    import torch

    from comptrust.compression.gram import Gram

    grams: dict[str, Gram] = {}
    unit_of: dict[str, str] = {}
    last: dict[str, tuple[torch.Tensor, str]] = {}

    def add(name: str, layer: Any, args: tuple[Any, ...]) -> None:
        inputs, parent = args[0], name.rpartition(".")[0]
        before = last.get(parent)
        # The tensor is kept, so that its memory is not another one's in the meantime.
        last[parent] = before if before and before[0] is inputs else (inputs, name)
        first = last[parent][1]
        unit_of.setdefault(name, first)
        if first == name:
            if name not in grams:
                grams[name] = Gram(inputs.shape[-1], inputs.device)
            grams[name].add(inputs)
        else:
            grams[name] = grams[first]

    hooks = [layer.register_forward_pre_hook(partial(add, name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            for ids in samples:
                model(ids.to(next(model.parameters()).device))
                last.clear()
    finally:
        for hook in hooks:
            hook.remove()
    members: dict[str, list[str]] = defaultdict(list)
    for name in layers:
        found = EXPERT.fullmatch(name)
        members[found[1] if found else unit_of.get(name, name)].append(name)
    return grams, members


def _loss(
    weights: list[torch.Tensor], grams: dict[str, Gram], names: list[str], bits: int, size: int
) -> float | None:
    """Return the relative error of the outputs; None if no token reached a layer."""
    error = total = 0.0
    for name, weight in zip(names, weights, strict=True):
        if name not in grams:
            continue
        for start in range(0, len(weight), ROWS):
            rows = weight[start : start + ROWS].float()
            error += float(grams[name].loss(rounded(rows, bits=bits, group_size=size) - rows))
            total += float(grams[name].loss(rows))
    return error / total if total else None


def rounded(weight: torch.Tensor, *, bits: int, group_size: int) -> torch.Tensor:
    """Return weights, shape (out, in), after rounding to symmetric integers as `rtn` rounds."""
    largest = 2 ** (bits - 1)
    groups = weight.reshape(-1, group_size)
    scale = groups.abs().amax(dim=-1, keepdim=True).div_(largest - 0.5).clamp_(min=1e-12)
    codes = (groups / scale).round_().clamp_(-largest, largest - 1)
    return codes.mul_(scale).view_as(weight)


def units_of(found: Sensitivity) -> Iterator[Unit]:
    """Yield the units, the most sensitive at the fewest bits first."""
    fewest = min(found.units[0].losses)
    yield from sorted(found.units, key=lambda unit: -unit.losses[fewest])
