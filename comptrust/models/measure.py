"""Measure a checkpoint's size, bits and zeros from its files, and compare them with its record.

Headers and NumPy are enough; no model is loaded.
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comptrust.errors import UserError
from comptrust.models import gguf, headers, memory
from comptrust.models.precision import NOT_LINEAR, NOT_WEIGHTS
from comptrust.records import Checkpoint

BITS_TOLERANCE, SPARSITY_TOLERANCE = 0.05, 0.01
"""The layers counted here are chosen by name, those in the record by their kind."""
STATED_SPARSITY_TOLERANCE = 0.02
"""How far the measured share of zeros may be from the recipe's."""
CHUNK = 1 << 22
"""Values whose zeros are counted at once."""


@dataclass(frozen=True)
class Measured:
    """What the files show."""

    bytes: int
    """Size of the weight files."""
    dense_bytes: int
    """The most that the same layers can take at 16 bits per weight."""
    effective_bits: float
    sparsity: float | None
    """Share of zeros among the layers' weights; None if some are packed integers."""
    stated_bits: int | None
    """Bits per weight that config.json states and loading relies on; None if not quantized."""


def measure(folder: Path) -> Measured:
    """Measure a folder. Raises UserError if it has no linear layers or cannot be read."""
    file = gguf.file_in(folder)
    quantization = {} if file else memory.quantization(folder)
    kinds = {bits for bits, _ in memory.schemes(quantization)}
    [bits] = kinds if len(kinds) == 1 else [None]
    stated = bits if isinstance(bits, int) and 0 < bits <= 16 else None
    holders = [file] if file else folder.rglob("*.safetensors")
    if file:
        stated = gguf.bits(gguf.kind(file))
    layers: dict[str, list[headers.Tensor]] = defaultdict(list)
    tensors = list(headers.tensors(folder))
    for tensor in tensors:
        layers[tensor.name.rpartition(".")[0]].append(tensor)
    counts = {name: _count(own, bits=stated) for name, own in layers.items()}
    linear = {name: count for name, count in counts.items() if count}
    if not linear:
        raise UserError(f"{folder} has no layers that could be measured.")
    of_linear = [tensor for name in linear for tensor in layers[name]]
    other = [tensor for name, own in layers.items() if name not in linear for tensor in own]
    biases = [tensor for tensor in of_linear if tensor.name.endswith(".bias")]
    stored = sum(tensor.stored for tensor in of_linear) - sum(bias.stored for bias in biases)
    # A source may store the head that it shares with its embedding twice.
    embeddings = [tensor for tensor in other if "embed" in tensor.name]
    apart = sum(tensor.count for tensor in [*other, *biases, *embeddings])
    dense = 2 * (sum(linear.values()) + apart)
    weights = [tensor for tensor in of_linear if _is_weight(tensor)]
    packed = (
        len(weights) < len(linear) or {tensor.dtype for tensor in weights} - headers.FLOATS.keys()
    )
    return Measured(
        bytes=sum(path.stat().st_size for path in holders),
        dense_bytes=dense + dense // 50 + 300 * len(tensors),  # and the headers
        effective_bits=8 * stored / sum(linear.values()),
        sparsity=None if packed else sum(map(_zeros, weights)) / sum(linear.values()),
        stated_bits=stated if quantization or file else None,
    )


def check(record: Checkpoint, folder: Path) -> None:
    """Raise UserError for the first number of checkpoint.json that is not that of the files."""
    files, recipe = measure(folder), record.recipe
    sparsity = record.sparsity if files.sparsity is None else files.sparsity
    off = abs(record.effective_bits - files.effective_bits)
    stated_sparsity = recipe.sparsity if files.sparsity is not None else None
    facts: list[tuple[bool, str, Any, Any]] = [
        (record.bytes != files.bytes, "bytes", record.bytes, files.bytes),
        (
            record.dense_bytes > files.dense_bytes,
            "dense_bytes",
            record.dense_bytes,
            f"at most {files.dense_bytes}",
        ),
        (
            not off <= BITS_TOLERANCE,
            "effective_bits",
            f"{record.effective_bits:.2f}",
            f"{files.effective_bits:.2f}",
        ),
        (
            not abs(record.sparsity - sparsity) <= SPARSITY_TOLERANCE,
            "sparsity",
            f"{record.sparsity:.3f}",
            f"{sparsity:.3f}",
        ),
        (
            recipe.method != "none" and recipe.bits != files.stated_bits,
            "bits of the recipe",
            recipe.bits,
            files.stated_bits,
        ),
        (
            stated_sparsity is not None
            and abs(stated_sparsity - sparsity) > STATED_SPARSITY_TOLERANCE,
            "sparsity of the recipe",
            recipe.sparsity,
            f"{sparsity:.3f}",
        ),
    ]
    for wrong, what, stated, measured in facts:
        if wrong:
            raise UserError(
                f"{what} is {stated} in checkpoint.json but {measured} in the weight files."
                " Compress or register the model again."
            )


def _count(layer: list[headers.Tensor], *, bits: int | None) -> int:
    """Return the number of weights of a linear layer, 0 if it is none."""
    parts = {tensor.name.rpartition(".")[2]: tensor for tensor in layer}
    packed = parts.get("weight_packed") or parts.get("qweight")
    if packed is None or bits is None:
        return sum(tensor.count for tensor in layer if _is_weight(tensor))
    room = packed.count * 32 // bits
    if (shape := parts.get("weight_shape")) is None:
        return room
    # Rows may end in padding; a shape cannot claim more than there is room for.
    return min(room, math.prod(int(size) for size in _values(shape, "<i8", shape.count)))


def _is_weight(tensor: headers.Tensor) -> bool:
    name = tensor.name
    kept = name.endswith(NOT_WEIGHTS) or any(part in name for part in NOT_LINEAR)
    return name.endswith(".weight") and len(tensor.shape) == 2 and not kept


def _zeros(tensor: headers.Tensor) -> int:
    """Count the zeros, positive and negative, of a tensor of floats."""
    size = headers.FLOATS[tensor.dtype]
    # All bits of a float but its sign, in the unsigned integer that holds it.
    magnitude = np.array((1 << (8 * size - 1)) - 1, f"<u{size}")
    values = _values(tensor, magnitude.dtype, tensor.count)
    chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
    return len(values) - sum(int(np.count_nonzero(chunk & magnitude)) for chunk in chunks)


def _values(tensor: headers.Tensor, dtype: Any, count: int) -> np.ndarray:
    try:
        if count == 0:
            return np.zeros(0, dtype)
        return np.memmap(tensor.path, dtype, mode="r", offset=tensor.start, shape=(count,))
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"Cannot read {tensor.name} in {tensor.path}: {error}.") from error
