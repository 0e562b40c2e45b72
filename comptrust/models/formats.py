"""The GPTQ and AWQ file formats (of AutoGPTQ and AutoAWQ), read as plain floating-point weights
without the packages that wrote them.

A quantized layer is four tensors: `qweight`, the integers, packed into 32 bits along the inputs
(GPTQ) or, interleaved, along the outputs (AWQ); `qzeros`, packed along the outputs; `scales`, one
row a group of inputs; and `g_idx` (GPTQ), the group of each input.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.errors import UserError
from comptrust.models import memory

if TYPE_CHECKING:
    import torch

KNOWN = {"gptq": ((2, 3, 4, 8), ("", "gptq", "gptq_v2")), "awq": ((4,), ("", "gemm"))}
"""Format -> bits and layouts that are read; config.json may leave the layout out."""
PARTS = ("qweight", "qzeros", "scales", "g_idx")


def kind(folder: Path) -> str | None:
    """Return `gptq` or `awq` if that is the format of a model folder's weights, else None.

    Raises UserError for a variant of the format that is laid out otherwise.
    """
    found = memory.quantization(folder)
    name = str(found.get("quant_method"))
    if name not in KNOWN:
        return None
    bits, layout = (
        found.get("bits", found.get("w_bit")),
        found.get("checkpoint_format", found.get("version", "")),
    )
    widths, layouts = KNOWN[name]
    if (
        bits not in widths
        or str(layout).lower() not in layouts
        or found.get("is_marlin_format")
        or found.get("dynamic")
    ):
        raise UserError(
            f"{folder} is in a variant of the {name.upper()} format that is not read here (bits"
            f" {bits}, layout {layout or 'not told'}; known: bits {', '.join(map(str, widths))},"
            f" layout {layouts[1]}, the same in all layers). Ask a server that reads it (--backend"
            " openai)."
        )
    return name


def dense(folder: Path, *, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the tensors of a GPTQ or AWQ folder under the names of the dense model, quantized
    layers as numbers of this dtype.

    A bias of zeros that AutoGPTQ adds to every layer is left out. Raises UserError for a layer
    whose tensors do not fit together.
    """
    from safetensors.torch import load_file

    found, form = memory.quantization(folder), kind(folder)
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    layers = [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]
    if not layers:
        raise UserError(
            f"config.json of {folder} says that it is in the {str(form).upper()} format, but no"
            " layer is. Fetch it again."
        )
    for layer in layers:
        codes, zeros, scales, order = (tensors.pop(f"{layer}.{part}", None) for part in PARTS)
        try:
            if codes is None or zeros is None or scales is None:
                raise ValueError("qzeros or scales are missing")
            outputs, bits = (
                scales.shape[1],
                int(found["bits"] if "bits" in found else found["w_bit"]),
            )
            if zeros.shape != (len(scales), outputs * bits // 32) or codes.shape[1] != (
                outputs if form == "gptq" else zeros.shape[1]
            ):
                raise ValueError(
                    f"qweight {tuple(codes.shape)}, qzeros {tuple(zeros.shape)} and scales"
                    f" {tuple(scales.shape)}"
                )
            if form == "awq":
                weight = _awq(codes, zeros, scales.to(dtype))
            else:
                shift = int(found.get("checkpoint_format") != "gptq_v2")
                weight = _gptq(codes, zeros, scales.to(dtype), order, bits=bits, shift=shift)
        except (ValueError, IndexError, RuntimeError) as error:
            raise UserError(
                f"Layer {layer} of {folder} is no {str(form).upper()} layer ({error}). Fetch the"
                " model again."
            ) from error
        tensors[f"{layer}.weight"] = weight.T.contiguous()
        if (bias := tensors.get(f"{layer}.bias")) is not None and not bias.any():
            del tensors[f"{layer}.bias"]
    return tensors


def _gptq(
    codes: torch.Tensor,
    zeros: torch.Tensor,
    scales: torch.Tensor,
    order: torch.Tensor | None,
    *,
    bits: int,
    shift: int,
) -> torch.Tensor:
    """Return the weights (inputs, outputs); `shift` is what the format takes off its zero points:
    1, in its second version 0.
    """
    import torch
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    inputs, (groups, outputs) = len(codes) * 32 // bits, scales.shape
    half = 1 << (bits - 1)  # taken off by unpack_from_int32
    values = (
        unpack_from_int32(codes, bits, torch.Size((inputs, outputs)), packed_dim=0).int() + half
    )
    points = unpack_from_int32(zeros, bits, torch.Size((groups, outputs))).int() + half
    points = (points + shift) & (2 * half - 1)
    if order is None and inputs % groups:
        raise ValueError(f"{inputs} inputs in {groups} groups, and no g_idx")
    group = torch.arange(inputs) // (inputs // groups) if order is None else order.long()
    weight: torch.Tensor = (values - points[group]).to(scales.dtype) * scales[group]
    return weight


def _awq(codes: torch.Tensor, zeros: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return the weights (inputs, outputs) of 4 bits."""
    from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter as Awq

    values, points = Awq.reverse_awq_order(*Awq.unpack_awq(codes, zeros, 4), 4)
    assert points is not None
    size = len(values) // len(scales)
    difference = ((values & 15) - (points & 15).repeat_interleave(size, dim=0)).to(scales.dtype)
    weight: torch.Tensor = difference * scales.repeat_interleave(size, dim=0)
    return weight
