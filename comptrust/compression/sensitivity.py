"""How much each part of a model suffers from fewer bits, measured once from the dense model.

Layers that read the same input (q, k and v; gate and up) and the experts of a block are one unit:
servers fuse them, so they need the same bits. The loss of rounding a unit is an estimate of how far
the model's next-token distribution moves (Kullback-Leibler divergence in nats per token): to second
order it is half the error's product with the Fisher information, here its diagonal (as in optimal
brain damage, LeCun et al. 1990). For a rounding error D of the weights and inputs X,

    1/2 sum over outputs o of mean((X D^T)_o^2) mean(g_o^2)

where g is the gradient of the log-probability of tokens drawn from the model itself. One pass over
the calibration texts, forward and back, sums up the Gram matrices of X (gram.py) and g^2.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

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
    """Bits -> loss of rounding to so many, in nats per token; a unit that no calibration token
    reached has the largest of all units.
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
    tokens = sum(ids.shape[1] for ids in samples)
    grams, gains, members = _pass(model, layers, samples)

    def of_unit(names: list[str], width: int) -> float | None:
        """Return the loss of some layers at so many bits; None if no token reached one."""
        reached = [name for name in names if name in gains and grams[name].count]
        rounding = partial(_loss, bits=width, group_size=group_size)
        parts = [rounding(layers[name].weight, grams[name], gains[name]) for name in reached]
        return sum(parts) / tokens if reached else None

    with torch.no_grad():
        losses = {
            first: {width: of_unit(names, width) for width in bits}
            for first, names in members.items()
        }
    worst = {
        width: max((loss for row in losses.values() if (loss := row[width]) is not None), default=1)
        for width in bits
    }
    return Sensitivity(
        group_size=group_size,
        calibration_tokens=tokens,
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


def _pass(
    model: torch.nn.Module, layers: dict[str, Any], samples: Sequence[torch.Tensor]
) -> tuple[dict[str, Gram], dict[str, torch.Tensor], dict[str, list[str]]]:
    """Return what one pass over the texts shows.

    That is the Gram matrix of each layer's inputs, shared in a unit, the sum of g^2 of each of its
    outputs, and the units' layers.
    """
    import torch

    from comptrust.compression.gram import Gram

    grams: dict[str, Gram] = {}
    gains: dict[str, torch.Tensor] = {}
    unit_of: dict[str, str] = {}
    last: dict[str, tuple[torch.Tensor, str]] = {}

    def add(name: str, layer: Any, args: tuple[Any, ...], output: Any) -> None:
        inputs, parent = args[0].detach(), name.rpartition(".")[0]
        before = last.get(parent)
        # The tensor is kept, so that its memory is not another one's in the meantime.
        last[parent] = before if before and before[0] is args[0] else (args[0], name)
        first = last[parent][1]
        unit_of.setdefault(name, first)
        if first == name:
            if name not in grams:
                grams[name] = Gram(inputs.shape[-1], inputs.device)
            grams[name].add(inputs)
        else:
            grams[name] = grams[first]
        output.register_hook(partial(gain, name))

    def gain(name: str, gradient: torch.Tensor) -> None:
        squares = gradient.float().square().flatten(0, -2).sum(dim=0)
        gains[name] = gains[name] + squares if name in gains else squares

    model.requires_grad_(False)
    embeddings = cast(Any, model).get_input_embeddings()
    hooks = [layer.register_forward_hook(partial(add, name)) for name, layer in layers.items()]
    hooks.append(embeddings.register_forward_hook(lambda *given: given[2].requires_grad_()))
    chance = torch.Generator().manual_seed(0)
    try:
        for ids in samples:
            logits = model(ids.to(next(model.parameters()).device)).logits[0].float()
            drawn = torch.multinomial(logits.detach().softmax(-1).cpu(), 1, generator=chance)
            logits.log_softmax(-1).gather(1, drawn.to(logits.device)).sum().backward()
            last.clear()
    finally:
        for hook in hooks:
            hook.remove()
    members: dict[str, list[str]] = defaultdict(list)
    for name in layers:
        found = EXPERT.fullmatch(name)
        members[found[1] if found else unit_of.get(name, name)].append(name)
    return grams, gains, members


def _loss(
    weight: torch.Tensor, gram: Gram, gains: torch.Tensor, *, bits: int, group_size: int
) -> float:
    """Return the loss of a layer, summed over tokens."""
    total = 0.0
    for start in range(0, len(weight), ROWS):
        rows = weight[start : start + ROWS].float()
        error = rounded(rows, bits=bits, group_size=group_size) - rows
        total += float(gram.loss(error * gains[start : start + ROWS, None].sqrt()))
    return total / 2 / gram.count


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
