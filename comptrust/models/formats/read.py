"""Read GPTQ and AWQ folders as plain floating-point weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust.errors import UserError
from comptrust.models import memory
from comptrust.models.formats import LAYOUTS, PARTS

if TYPE_CHECKING:
    import torch


def kind(folder: Path) -> str | None:
    """Return `gptq` or `awq` if the folder's weights are in that format, else None.

    Raises UserError for a variant of the format with another layout.
    """
    settings = memory.quantization(folder)
    name = str(settings.get("quant_method"))
    if name not in LAYOUTS:
        return None
    layout = LAYOUTS[name]
    bits = memory.stated_bits(settings)
    version = settings.get("checkpoint_format", settings.get("version", ""))
    mixed = settings.get("is_marlin_format") or settings.get("dynamic")
    if bits in layout.bits_read and str(version).lower() in layout.versions_read and not mixed:
        return name
    raise UserError(
        f"{folder} uses a variant of the {name.upper()} format that cannot be read here (bits"
        f" {bits}, layout {version or 'not stated'}). Supported: bits"
        f" {', '.join(map(str, layout.bits_read))}, layout {layout.versions_read[1]}, the same in"
        " all layers. Use a server that reads it (backend openai)."
    )


def dense(folder: Path, *, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the tensors of a GPTQ or AWQ folder under the names of the dense model.

    Quantized layers become weights of this dtype. A bias of zeros, which AutoGPTQ adds to every
    layer, is left out. Raises UserError for a layer whose tensors do not fit together.
    """
    from safetensors.torch import load_file

    settings, form = memory.quantization(folder), kind(folder)
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    layers = [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]
    if not layers:
        raise UserError(
            f"config.json of {folder} says that it is in the {str(form).upper()} format, but no"
            " layer is. Fetch the model again."
        )
    for layer in layers:
        parts = {part: tensors.pop(f"{layer}.{part}", None) for part in PARTS}
        try:
            weight = _weight(parts, settings, form=str(form), dtype=dtype)
        except (ValueError, IndexError, RuntimeError) as error:
            raise UserError(
                f"Layer {layer} of {folder} is not a valid {str(form).upper()} layer ({error})."
                " Fetch the model again."
            ) from error
        tensors[f"{layer}.weight"] = weight.T.contiguous()
        bias = tensors.get(f"{layer}.bias")
        if bias is not None and not bias.any():
            del tensors[f"{layer}.bias"]
    return tensors


def _weight(
    parts: Mapping[str, torch.Tensor | None],
    settings: Mapping[str, Any],
    *,
    form: str,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Return one layer's weights, shape (inputs, outputs). Raises ValueError if parts misfit."""
    codes, zeros, scales, order = (parts[part] for part in PARTS)
    if codes is None or zeros is None or scales is None:
        raise ValueError("qzeros or scales are missing")
    (groups, outputs), bits = scales.shape, int(memory.stated_bits(settings))
    width = outputs if form == "gptq" else outputs * bits // 32
    if zeros.shape != (groups, outputs * bits // 32) or codes.shape[1] != width:
        shapes = [tuple(tensor.shape) for tensor in (codes, zeros, scales)]
        raise ValueError(f"qweight {shapes[0]}, qzeros {shapes[1]} and scales {shapes[2]}")
    if form == "awq":
        return _awq(codes, zeros, scales.to(dtype))
    shift = int(settings.get("checkpoint_format") != "gptq_v2")
    return _gptq(codes, zeros, scales.to(dtype), order, bits=bits, shift=shift)


def _gptq(
    codes: torch.Tensor,
    zeros: torch.Tensor,
    scales: torch.Tensor,
    order: torch.Tensor | None,
    *,
    bits: int,
    shift: int,
) -> torch.Tensor:
    """Return the weights, shape (inputs, outputs).

    The first version of the format stores zero points less 1 (`shift`), the second as they are.
    """
    import torch
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    inputs, (groups, outputs) = len(codes) * 32 // bits, scales.shape
    half = 1 << (bits - 1)  # subtracted by unpack_from_int32, for signed integers
    values = unpack_from_int32(codes, bits, torch.Size((inputs, outputs)), packed_dim=0)
    values = values.int() + half
    points = unpack_from_int32(zeros, bits, torch.Size((groups, outputs))).int() + half
    points = (points + shift) & (2 * half - 1)
    if order is None and inputs % groups:
        raise ValueError(f"{inputs} inputs in {groups} groups, and no g_idx")
    group = torch.arange(inputs) // (inputs // groups) if order is None else order.long()
    return torch.mul((values - points[group]).to(scales.dtype), scales[group])


def _awq(codes: torch.Tensor, zeros: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return the weights of a 4-bit layer, shape (inputs, outputs)."""
    import torch
    from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter as Awq

    values, points = Awq.reverse_awq_order(*Awq.unpack_awq(codes, zeros, 4), 4)
    assert points is not None
    size = len(values) // len(scales)
    difference = ((values & 15) - (points & 15).repeat_interleave(size, dim=0)).to(scales.dtype)
    return torch.mul(difference, scales.repeat_interleave(size, dim=0))
