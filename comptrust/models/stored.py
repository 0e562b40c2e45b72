"""Whether the numbers in a folder's files are those that its quantization_config states.

Names, dtypes and shapes come from the headers; no weights are read. Libraries believe config.json:
they unpack with the wrong scale, or with none, and compute something all the same.
"""

from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from comptrust.errors import UserError
from comptrust.models import formats, headers, memory

PACKED = {"weight_packed": "weight_scale", "qweight": "scales", "_blocks": "_scales"}
"""Name endings of packed numbers -> those of their scales."""
SCALES = {"fp8": "_scale_inv"}
"""`quant_method` -> what the name of a scale adds to that of numbers of 8 bits."""
OTHERS = ("_scale", "_scale_inv", "_scales", "zero_point")
"""Name endings of numbers of 8 bits that are no weights."""
BITS_TOLERANCE = 0.05
"""How far the stored bits may be from the stated ones, as a share: rows may end in padding."""
READ_HERE = ("compressed-tensors", *memory.NATIVE)
"""Layouts whose names are known; others are read by packages of their own."""


class Coded(NamedTuple):
    """A quantized weight, and its scale if there is one."""

    code: headers.Tensor
    scale: headers.Tensor | None
    named: str
    """Where its scale should be."""
    packed: bool


def check(folder: Path, *, wider: bool = False) -> None:
    """Raise UserError for numbers of other bits, another type or other groups than stated.

    So for a weight without its scale. Numbers that are not packed may be `wider` than stated, as
    W4A8 is saved: what they stand for is the same, but not the size.
    """
    settings = memory.quantization(folder)
    form, name = formats.kind(folder), settings.get("quant_method")
    if not form and name not in READ_HERE:
        return
    coded = list(_coded(folder, added=SCALES.get(str(name), "_scale")))
    for weight in coded:
        if weight.scale is None:
            raise UserError(
                f"{folder} has {weight.code.name} without its scale {weight.named}. Fetch the model"
                " again."
            )
    kinds = memory.schemes(settings)
    if len(kinds) != 1:
        return  # which layer is of which kind, the reader finds out
    [(bits, size)] = kinds
    size = size if isinstance(size, int) and size > 0 else None
    scheme = _scheme(settings)
    for weight in coded:
        if wrong := _wrong(weight, scheme):
            raise UserError(f"config.json of {folder} states {wrong}. Fetch the model again.")
    stored = _bits(coded, size)
    if wider and coded and not any(weight.packed for weight in coded):
        return
    if bits and stored and abs(stored - bits) > BITS_TOLERANCE * bits:
        raise UserError(
            f"config.json of {folder} states {bits} bits, but its files hold {stored:.1f} bits per"
            " weight. Save it packed, or fetch it again."
        )


def _coded(folder: Path, *, added: str) -> Iterator[Coded]:
    tensors = {tensor.name: tensor for tensor in headers.tensors(folder)}
    for name, tensor in tensors.items():
        ending = next((ending for ending in PACKED if name.endswith(ending)), None)
        scale = name.removesuffix(ending) + PACKED[ending] if ending else name + added
        is_code = tensor.dtype in headers.CODES and len(tensor.shape) > 1
        if ending or (is_code and not name.endswith(OTHERS)):
            yield Coded(tensor, tensors.get(scale), scale, packed=ending is not None)


def _scheme(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return type, strategy and blocks of the weights, as compressed-tensors names them."""
    groups = settings.get("config_groups")
    if isinstance(groups, dict):
        found = [group.get("weights") for group in groups.values() if isinstance(group, dict)]
        return next((scheme for scheme in found if isinstance(scheme, dict)), {})
    if block := settings.get("weight_block_size"):
        return {"type": "float", "strategy": "block", "block_structure": block}
    return {}


def _wrong(weight: Coded, scheme: Mapping[str, Any]) -> str:
    """Say what is stated of a weight and does not hold; nothing if all does."""
    code, scale = weight.code, weight.scale
    assert scale
    kind, strategy = scheme.get("type"), scheme.get("strategy")
    if not weight.packed and kind and code.dtype.startswith("F") != (kind == "float"):
        return f"weights of type {kind}, but {code.name} is {code.dtype}"
    *before, rows, columns = code.shape
    of: str = ""
    expected: tuple[int, ...] = ()
    if strategy == "tensor":
        of = "each matrix"
    elif strategy == "channel":
        of, expected = "each row", (rows,)
    elif strategy == "block":
        sizes = scheme.get("block_structure")
        if not _are_sizes(sizes, 2):
            return f"blocks of {sizes}, which are no two numbers"
        of = f"blocks of {sizes[0]} x {sizes[1]}"
        expected = (ceil(rows / sizes[0]), ceil(columns / sizes[1]))
    elif strategy == "group" and not weight.packed and _are_sizes([scheme.get("group_size")], 1):
        of = f"groups of {scheme['group_size']}"
        expected = (rows, ceil(columns / scheme["group_size"]))
    if of and _without_ones(scale.shape) != _without_ones((*before, *expected)):
        return f"a scale for {of}, but {scale.name} has shape {scale.shape} for {code.shape}"
    return ""


def _are_sizes(values: Any, count: int) -> TypeGuard[list[int]]:
    known = isinstance(values, list) and len(values) == count
    return known and all(type(value) is int and value > 0 for value in values)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _bits(coded: list[Coded], group_size: int | None) -> float | None:
    """Return the bits of a weight without its scale; None if no shape is stated."""
    stored = weights = 0
    for code, scale, _, packed in coded:
        assert scale
        if count := scale.count * (group_size or 0) if packed else code.count:
            stored, weights = stored + 8 * code.stored, weights + count
    if not coded:
        return 16.0
    return stored / weights if weights else None
