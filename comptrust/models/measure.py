"""Measure a checkpoint's size, bits and zeros from its files, and compare them with its record.

Headers and NumPy are enough; no model is loaded.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comptrust.errors import UserError
from comptrust.models import gguf, headers, kinds, memory
from comptrust.models.precision import NOT_WEIGHTS
from comptrust.records import DENSE_BITS, PRUNED, Checkpoint, Part, Recipe

BITS_TOLERANCE, SPARSITY_TOLERANCE = 0.05, 0.01
"""Records of earlier versions counted other layers."""
STATED_SPARSITY_TOLERANCE = 0.02
"""How far the measured share of zeros may be from the recipe's."""
CHUNK = 1 << 22
"""Values whose zeros are counted at once."""
PACKED = ("weight_packed", "qweight", "blocks")
"""Endings of packed integers (compressed-tensors, GPTQ and AWQ, MXFP4)."""
ENDING = re.compile(
    r"[._](weight(_\w+)?|qweight|qzeros|scales|g_idx|bias|blocks|input_\w+|output_scale)$"
)
"""What follows a layer's name in the names of its tensors."""


@dataclass(frozen=True)
class Measured:
    """What the files show."""

    bytes: int
    """Size of the weight files."""
    dense_bytes: int
    """The most that the same layers can take at 16 bits per weight."""
    effective_bits: float
    """Stored bits per weight of the kinds that are compressed."""
    sparsity: float | None
    """Share of zeros among the same weights; None if some are packed integers."""
    stated_bits: int | None
    """Bits per weight that config.json states and loading relies on; None if not quantized, or if
    its layers differ.
    """
    bits_of: dict[str, int]
    """Layer that is meant to be compressed -> bits of its codes, 16 if dense; empty for GGUF."""
    weights_at: dict[int, int]
    """Bits of a code -> number of weights, of the same layers."""
    parts: tuple[Part, ...]
    """All weights of the language model, by kind."""


@dataclass(frozen=True)
class _Layer:
    """The tensors of one layer, measured."""

    kind: str
    weights: int
    stored: int
    """Bytes, without a bias."""
    quantized: bool
    zeros: int


def measure(folder: Path) -> Measured:
    """Measure a folder. Raises UserError if it has no linear layers or cannot be read."""
    file = gguf.file_in(folder)
    quantization = {} if file else memory.quantization(folder)
    widths = {bits for bits, _ in memory.schemes(quantization)}
    [bits] = widths if len(widths) == 1 else [None]
    stated = bits if isinstance(bits, int) and 0 < bits <= 16 else None
    if file:
        stated = gguf.bits(gguf.kind(file))
    tensors = list(headers.tensors(folder))
    groups: dict[str, list[headers.Tensor]] = defaultdict(list)
    for tensor in tensors:
        groups[ENDING.sub("", tensor.name)].append(tensor)
    by_layer = memory.bits_by_layer(quantization)
    layers = {
        name: _layer(name, group, bits=by_layer.get(name, stated)) for name, group in groups.items()
    }
    linear = [layer for layer in layers.values() if layer.kind in kinds.LINEAR]
    bits_of: dict[str, int] = {}
    weights_at: Counter[int] = Counter()
    for name, layer in layers.items():
        if layer.kind in kinds.LINEAR and layer.weights and not file:
            width = by_layer.get(name, stated) if layer.quantized else DENSE_BITS
            bits_of[name] = width or round(8 * layer.stored / layer.weights)
            weights_at[bits_of[name]] += layer.weights
    weights = sum(layer.weights for layer in linear)
    if not weights:
        raise UserError(f"{folder} has no layers that could be measured.")
    packed = any(layer.quantized for layer in linear)
    biases = sum(tensor.count for tensor in tensors if len(tensor.shape) == 1)
    # A source may store the head that it shares with its embedding twice.
    tied = sum(layer.weights for layer in layers.values() if layer.kind == "embeddings")
    dense = 2 * (sum(layer.weights for layer in layers.values()) + biases + tied)
    return Measured(
        bytes=sum(path.stat().st_size for path in headers.files(folder)),
        dense_bytes=dense + dense // 50 + 300 * len(tensors),  # and the headers
        effective_bits=8 * sum(layer.stored for layer in linear) / weights,
        sparsity=None if packed else sum(layer.zeros for layer in linear) / weights,
        stated_bits=stated if quantization or file else None,
        bits_of=bits_of,
        weights_at=dict(sorted(weights_at.items())),
        parts=tuple(
            _part(kind, [layer for layer in layers.values() if layer.kind == kind])
            for kind in kinds.KINDS
            if kind != kinds.NOT_LANGUAGE
            and any(layer.kind == kind and layer.weights for layer in layers.values())
        ),
    )


def _layer(name: str, tensors: list[headers.Tensor], *, bits: int | None) -> _Layer:
    """Measure one layer. A vector on its own is a norm or a bias."""
    values = [tensor for tensor in tensors if _is_weight(tensor)]
    parts = {tensor.name.removeprefix(name).lstrip("._"): tensor for tensor in tensors}
    packed = next((parts[part] for part in PACKED if part in parts), None)
    if packed is None:
        count = sum(value.count for value in values)
    else:
        count = 8 * packed.stored // (bits or 4)
        if (shape := parts.get("weight_shape")) is not None:
            # Rows may end in padding; a shape cannot claim more than there is room for.
            stated = math.prod(int(size) for size in _values(shape, "<i8", shape.count))
            count = min(count, stated)
    quantized = packed is not None or any(value.dtype not in headers.FLOATS for value in values)
    kind = kinds.kind(name)
    return _Layer(
        kind=kind if values or packed else kinds.VECTORS,
        weights=count or sum(tensor.count for tensor in tensors),
        stored=sum(tensor.stored for tensor in tensors if not tensor.name.endswith("bias")),
        quantized=quantized,
        zeros=0 if quantized else sum(map(_zeros, values)),
    )


def _part(kind: str, layers: list[_Layer]) -> Part:
    weights = sum(layer.weights for layer in layers)
    compressed = (row for row in layers if row.quantized or row.zeros > PRUNED * row.weights)
    quantized = any(layer.quantized for layer in layers)
    return Part(
        kind=kind,
        linear=kind in kinds.LINEAR,
        weights=weights,
        compressed=sum(layer.weights for layer in compressed),
        bits=8 * sum(layer.stored for layer in layers) / weights,
        sparsity=None if quantized else sum(layer.zeros for layer in layers) / weights,
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
            recipe.method != "none" and not recipe.layer_bits and recipe.bits != files.stated_bits,
            "bits of the recipe",
            recipe.bits,
            files.stated_bits,
        ),
        *_layers(recipe, files),
        (
            bool(record.weights_at or recipe.layer_bits) and record.weights_at != files.weights_at,
            "weights_at (weights by bits)",
            record.weights_at,
            files.weights_at,
        ),
        (
            stated_sparsity is not None
            and abs(stated_sparsity - sparsity) > STATED_SPARSITY_TOLERANCE,
            "sparsity of the recipe",
            recipe.sparsity,
            f"{sparsity:.3f}",
        ),
        (
            bool(record.parts) and record.parts != files.parts,
            "parts (weights by kind)",
            record.coverage,
            record.model_copy(update={"parts": files.parts}).coverage,
        ),
    ]
    for wrong, what, stated, measured in facts:
        if wrong:
            raise UserError(
                f"{what} is {stated} in checkpoint.json but {measured} in the weight files."
                " Compress or register the model again."
            )


def _layers(recipe: Recipe, files: Measured) -> Iterator[tuple[bool, str, Any, Any]]:
    """Compare the bits of each layer with those that a mixed recipe gives it."""
    for name, bits in files.bits_of.items() if recipe.layer_bits else ():
        expected = recipe.bits_of(name) or DENSE_BITS
        yield expected != bits, f"bits of layer {name}", expected, bits


def _is_weight(tensor: headers.Tensor) -> bool:
    """Whether a tensor is a matrix of weights; one with a single long side is a vector."""
    matrix = sum(size > 1 for size in tensor.shape) > 1
    return matrix and not tensor.name.endswith((*NOT_WEIGHTS, "_scale", "_shape", "scales"))


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
