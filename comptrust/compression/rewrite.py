"""Rewrite packed compressed-tensors checkpoints in the GPTQ and AWQ formats, for older servers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
from compressed_tensors.entrypoints.convert import convert_checkpoint

from comptrust.errors import UserError
from comptrust.models import headers
from comptrust.models.formats import DEFAULT, LAYOUTS

PACKED_PARTS = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point")
"""Tensors of a layer in the compressed-tensors format; GPTQ layers have no zero points."""
INTERLEAVED = (0, 2, 4, 6, 1, 3, 5, 7)
"""AWQ: the output, of eight, that is stored at each place of a word, lowest bits first."""


def rewrite(folder: Path, out: Path, *, name: str, bits: int, group_size: int) -> None:
    """Write a compressed-tensors folder to `out` in another format; floats become float16.

    Raises UserError for a number outside float16's range.
    """
    settings: dict[str, Any] = {"bits": bits, "group_size": group_size}
    if name == "awq":
        settings["modules_to_not_convert"] = _dense(folder)
    convert_checkpoint(folder, out, _Converter(name, settings), device="cpu")


def _dense(folder: Path) -> list[str]:
    """Name what is not quantized, routers too: servers expect packed integers of all others.

    The head is named even if it has no tensor of its own, because it shares the embeddings'.
    """
    matrices = (tensor.name for tensor in headers.tensors(folder) if len(tensor.shape) > 1)
    names = (name.removesuffix(".weight") for name in matrices if name.endswith(".weight"))
    return sorted({"lm_head", *names})


class _Converter:
    """What convert_checkpoint needs to know; it defines the names of these methods."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self.name, self.settings = name, settings
        self.bits, self.group_size = settings["bits"], settings["group_size"]

    def get_dependencies(self, weight_name: str) -> set[str]:
        """Return the tensors that are needed to convert this one."""
        layer, _, part = weight_name.rpartition(".")
        others = PACKED_PARTS[1:] if self.name == "awq" else PACKED_PARTS[1:3]
        return {f"{layer}.{other}" for other in others} if part == PACKED_PARTS[0] else set()

    def validate(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Accept everything: tensors have no values at this point, so nothing can be checked."""
        return tensors

    def update_config(self, config: object) -> None:
        """Change nothing: the result has no quantization_config of compressed-tensors."""

    def update_model_config(self, model_config: dict[str, Any]) -> dict[str, Any]:
        """Return config.json with the format's own quantization_config."""
        settings = {
            "quant_method": self.name,
            **self.settings,
            **LAYOUTS[self.name].settings,
        }
        return {**model_config, "dtype": "float16", "quantization_config": settings}

    def process(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the tensors of the new files."""
        ending = f".{PACKED_PARTS[0]}"
        converted: dict[str, torch.Tensor] = {}
        for layer in [name.removesuffix(ending) for name in tensors if name.endswith(ending)]:
            packed, scale, shape, points = (
                tensors.pop(f"{layer}.{part}", None) for part in PACKED_PARTS
            )
            assert packed is not None and scale is not None and shape is not None
            outputs, inputs = shape.tolist()
            if points is None:
                parts = self._gptq(packed, outputs=outputs, inputs=inputs)
            else:
                parts = self._awq(packed, points, outputs=outputs, inputs=inputs)
            parts["scales"] = scale.T.contiguous()
            converted |= {f"{layer}.{part}": value for part, value in parts.items()}
        return {name: _half(value, name) for name, value in (tensors | converted).items()}

    def _gptq(self, packed: torch.Tensor, *, outputs: int, inputs: int) -> dict[str, torch.Tensor]:
        """Return qweight, qzeros and g_idx; both formats pack integers along the inputs.

        Weights are symmetric: every zero point is the middle of the range, less the 1 that the
        format subtracts.
        """
        word = sum(((1 << (self.bits - 1)) - 1) << place for place in range(0, 32, self.bits))
        zeros = torch.full(
            (inputs // self.group_size, outputs * self.bits // 32), word, dtype=torch.int32
        )
        return {
            "qweight": packed.T.contiguous(),
            "qzeros": zeros,
            "g_idx": (torch.arange(inputs) // self.group_size).to(torch.int32),
        }

    def _awq(
        self, packed: torch.Tensor, points: torch.Tensor, *, outputs: int, inputs: int
    ) -> dict[str, torch.Tensor]:
        """Return qweight and qzeros, packed again along the outputs."""

        def along_outputs(values: torch.Tensor) -> torch.Tensor:
            mixed = values.T.reshape(-1, outputs // 8, 8)[:, :, list(INTERLEAVED)]
            return torch.as_tensor(pack_to_int32(mixed.reshape(-1, outputs), self.bits))

        values = unpack_from_int32(packed, self.bits, torch.Size((outputs, inputs)))
        groups = torch.Size((outputs, inputs // self.group_size))
        zeros = unpack_from_int32(points, self.bits, groups, packed_dim=0)
        parts = {"qweight": along_outputs(values), "qzeros": along_outputs(zeros)}
        return {name: value.contiguous() for name, value in parts.items()}


def _half(value: torch.Tensor, name: str) -> torch.Tensor:
    half = value.to(torch.float16) if value.is_floating_point() else value
    if not half.isfinite().all():
        raise UserError(
            f"{name} has numbers outside float16's range, which the format needs. Use format"
            f" {DEFAULT}."
        )
    return half
