"""Read the GPTQ and AWQ file formats without the packages that defined them, AutoGPTQ and AutoAWQ.

A layer is stored as `qweight`, its integers, packed into 32-bit words along the inputs (GPTQ) or,
interleaved, along the outputs (AWQ); `qzeros`, its zero points, packed along the outputs; `scales`,
one row for each group of inputs; and, in GPTQ, `g_idx`, the group of each input.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust.errors import UserError, unknown
from comptrust.models import gguf, headers, memory

if TYPE_CHECKING:
    import torch

DEFAULT = "compressed-tensors"
"""The format that holds what every method produces."""
GGUF = "gguf:"
"""How the names of llama.cpp's formats begin; the type of their weights follows."""
PARTS = ("qweight", "qzeros", "scales", "g_idx")


@dataclass(frozen=True)
class Layout:
    """What comptrust reads and writes of one format."""

    bits_read: tuple[int, ...]
    bits_written: tuple[int, ...]
    """Those that servers read."""
    versions_read: tuple[str, ...]
    """Names of the layout in config.json, which may leave it out (the first, empty name)."""
    settings: dict[str, Any]
    """Fields of quantization_config that describe what comptrust writes."""


LAYOUTS = {
    "gptq": Layout(
        bits_read=(2, 3, 4, 8),
        bits_written=(4, 8),
        versions_read=("", "gptq", "gptq_v2"),
        settings={"desc_act": False, "sym": True, "checkpoint_format": "gptq"},
    ),
    "awq": Layout(
        bits_read=(4,),
        bits_written=(4,),
        versions_read=("", "gemm"),
        settings={"version": "gemm", "zero_point": True},
    ),
}
"""By name, which is also that of the one method whose results the format holds."""
AUTO_ROUND = {
    "auto_round:auto_gptq": ("gptq", "gptq"),
    "auto_round:gptqmodel": ("gptq", "gptq_v2"),
    "auto_round": ("gptq", "gptq_v2"),
    "auto_round:auto_awq": ("awq", "gemm"),
}
"""`packing_format` of AutoRound -> the format that it is, and its layout."""
OFF_BY_ONE, FEW, MANY = 0.25, 1 << 14, 1 << 22
"""Trained weights are centered. If the mean of more than a FEW weights is within this many steps of
zero only with zero points one step off, config.json states the wrong layout. MANY decide it."""


def about() -> dict[str, str]:
    """Return each format that can be written, with what it holds."""
    kinds = {DEFAULT: "What every method produces."}
    for name, layout in LAYOUTS.items():
        bits = " or ".join(map(str, layout.bits_written))
        kinds[name] = f"What method {name} produces at {bits} bits."
    return kinds | {f"{GGUF}{name}": "What method gguf produces." for name in gguf.TYPES}


def check(name: str, *, method: str, bits: int | None) -> str:
    """Return the format's name.

    Raises UserError if it is unknown or cannot hold what this method produces.
    """
    if name == DEFAULT or name.startswith(GGUF):
        return name
    if name not in LAYOUTS:
        raise unknown("format", name, (DEFAULT, *LAYOUTS))
    if method != name:
        raise UserError(
            f"Format '{name}' holds only what method {name} produces, not {method}. Use format"
            f" {DEFAULT}, which holds everything."
        )
    if bits not in LAYOUTS[name].bits_written:
        raise UserError(
            f"Servers do not read format '{name}' at {bits} bits. Use bits"
            f" {' or '.join(map(str, LAYOUTS[name].bits_written))}, or format {DEFAULT}."
        )
    return name


def packing(settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the format and layout that a quantization_config states, None if it is another."""
    name = str(settings.get("quant_method"))
    if name in ("auto-round", "intel/auto-round"):
        stated = str(settings.get("packing_format"))
        old = ("gptq", "gptq") if name == "intel/auto-round" else None
        return AUTO_ROUND.get(stated, old)
    if name not in LAYOUTS:
        return None
    version = settings.get("checkpoint_format", settings.get("version")) or ""
    return name, str(version).lower()


def kind(folder: Path) -> str | None:
    """Return `gptq` or `awq` if the folder's weights are in that format, else None.

    Raises UserError for a variant of the format with another layout.
    """
    settings = memory.quantization(folder)
    stated = packing(settings)
    if stated is None:
        return None
    name, version = stated
    layout = LAYOUTS[name]
    bits = memory.stated_bits(settings)
    extra = settings.get("extra_config") or {}
    other = {layer.get("bits", bits) for layer in extra.values() if isinstance(layer, dict)}
    mixed = settings.get("is_marlin_format") or settings.get("dynamic") or other - {bits, 16, 32}
    if bits in layout.bits_read and version in layout.versions_read and not mixed:
        return name
    marlin = settings.get("is_marlin_format") and "marlin"
    layers = ", different in some layers" if mixed and not marlin else ""
    raise UserError(
        f"{folder} uses a variant of the {name.upper()} format that cannot be read here (bits"
        f" {bits}{layers}, layout {marlin or version or 'not stated'}). Supported: bits"
        f" {', '.join(map(str, layout.bits_read))}, layout {layout.versions_read[1]}, the same in"
        " all layers. Use a server that reads it (backend openai)."
    )


def dense(folder: Path, *, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the tensors of a GPTQ or AWQ folder under the names of the dense model.

    Quantized layers become weights of this dtype. A bias of zeros, which AutoGPTQ adds to every
    layer, is left out. Raises UserError for a layer whose tensors do not fit together.
    """
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    for path in headers.files(folder):
        tensors |= load_file(path)
    for layer, steps, scales in _layers(folder, tensors):
        tensors[f"{layer}.weight"] = (steps.to(dtype) * scales.to(dtype)).T.contiguous()
        bias = tensors.get(f"{layer}.bias")
        if bias is not None and not bias.any():
            del tensors[f"{layer}.bias"]
    return tensors


def check_layers(folder: Path) -> None:
    """Read the first quantized layers of a GPTQ or AWQ folder.

    Raises UserError if their tensors do not fit together, their zero points contradict the stated
    layout, or there are none.
    """
    from safetensors import safe_open

    settings, form = memory.quantization(folder), str(kind(folder))
    found = {tensor.name: tensor for tensor in headers.tensors(folder)}
    layers = [name.removesuffix("qweight") for name in found if name.endswith(".qweight")]
    if both := [layer for layer in layers if f"{layer}weight" in found]:
        raise UserError(
            f"{folder} has {both[0]}weight beside {both[0]}qweight, so it holds two models. Fetch"
            " the model again."
        )
    if not layers:
        raise UserError(
            f"config.json of {folder} says that it is in the {form.upper()} format, but no layer"
            " is. Fetch the model again."
        )
    bits = int(memory.stated_bits(settings))
    sizes = accumulate(found[f"{layer}qweight"].count * 32 // bits for layer in layers)
    first = layers[: 1 + sum(size < MANY for size in sizes)]
    tensors = {}
    for name in (f"{layer}{part}" for layer in first for part in PARTS):
        if name in found:
            with safe_open(found[name].path, "pt") as file:
                tensors[name] = file.get_tensor(name)
    shift = _shift(folder, tensors)
    steps, count = 0.0, 0
    for _, values, _ in _layers(folder, tensors):
        steps, count = steps + float(values.float().sum()), count + values.numel()
    other = steps / count + (1 if shift else -1)
    if form == "gptq" and bits <= 4 and count > FEW and abs(other) < OFF_BY_ONE:
        raise UserError(
            f"The zero points of {folder} are one step off, as if config.json stated the wrong"
            " checkpoint_format (gptq or gptq_v2). Set the right one, or export the model again."
        )


def _layers(
    folder: Path, tensors: dict[str, torch.Tensor]
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Take the quantized layers out of tensors; yield each one's name, steps and scales."""
    bits, form = int(memory.stated_bits(memory.quantization(folder))), str(kind(folder))
    layers = [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]
    shift = _shift(folder, tensors) if form == "gptq" else 0
    for layer in layers:
        parts = {part: tensors.pop(f"{layer}.{part}", None) for part in PARTS}
        try:
            yield layer, *_steps(parts, bits=bits, form=form, shift=shift)
        except (ValueError, IndexError, RuntimeError) as error:
            raise UserError(
                f"Layer {layer} of {folder} is not a valid {form.upper()} layer ({error})."
                " Fetch the model again."
            ) from error


def _shift(folder: Path, tensors: Mapping[str, torch.Tensor]) -> int:
    """Return what to add to stored zero points: 1 in the first version of GPTQ, else 0.

    Symmetric quantizers put all zero points in the middle, which shows the version whatever
    config.json says; some write the second version under the name of the first.
    """
    settings = memory.quantization(folder)
    bits = int(memory.stated_bits(settings))
    zeros = [words for name, words in tensors.items() if name.endswith(".qzeros")]
    values = {word for words in zeros for word in words.flatten().tolist()}
    middle = 1 << (bits - 1)
    for shift in (0, 1):
        stream = sum(middle - shift << place * bits for place in range(32))
        words = stream.to_bytes(4 * bits, "little")
        if values and values <= set(struct.unpack(f"<{bits}i", words)):
            return shift
    return int(packing(settings) != ("gptq", "gptq_v2"))


def _steps(
    parts: Mapping[str, torch.Tensor | None], *, bits: int, form: str, shift: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's weights in steps from zero, and its steps, each of shape (inputs, outputs).

    Raises ValueError if the parts do not fit together.
    """
    import torch

    codes, zeros, scales, order = (parts[part] for part in PARTS)
    if codes is None or zeros is None or scales is None:
        raise ValueError("qzeros or scales are missing")
    groups, outputs = scales.shape
    width = outputs if form == "gptq" else outputs * bits // 32
    if zeros.shape != (groups, outputs * bits // 32) or codes.shape[1] != width:
        shapes = [tuple(tensor.shape) for tensor in (codes, zeros, scales)]
        raise ValueError(f"qweight {shapes[0]}, qzeros {shapes[1]} and scales {shapes[2]}")
    if form == "awq":
        values, points = _awq(codes, zeros)
    else:
        values, points = _gptq(codes, zeros, bits=bits, shift=shift)
    inputs = len(values)
    if order is None and inputs % groups:
        raise ValueError(f"{inputs} inputs in {groups} groups, and no g_idx")
    group = torch.arange(inputs) // (inputs // groups) if order is None else order.long()
    if int(group.min()) < 0:  # it would count from the end
        raise ValueError(f"g_idx has {int(group.min())}")
    return values - points[group], scales[group]


def _gptq(
    codes: torch.Tensor, zeros: torch.Tensor, *, bits: int, shift: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the integers, shape (inputs, outputs), and the zero points, shape (groups, outputs).

    The first version of the format stores zero points less 1 (`shift`), the second as they are.
    """
    import torch
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    half = 1 << (bits - 1)  # subtracted by unpack_from_int32, for signed integers
    size = torch.Size((len(codes) * 32 // bits, codes.shape[1]))
    values = unpack_from_int32(codes, bits, size, packed_dim=0).int() + half
    points = unpack_from_int32(zeros, bits, torch.Size((len(zeros), codes.shape[1]))).int() + half
    return values, (points + shift) & (2 * half - 1)


def _awq(codes: torch.Tensor, zeros: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter as Awq

    values, points = Awq.reverse_awq_order(*Awq.unpack_awq(codes, zeros, 4), 4)
    assert points is not None
    return values & 15, points & 15
