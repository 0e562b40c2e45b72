"""Our packed checkpoints written again in the GPTQ and AWQ file formats, which servers older than
compressed-tensors read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust.errors import UserError, unknown

if TYPE_CHECKING:
    import torch

DEFAULT = "compressed-tensors"
BITS = {"gptq": (4, 8), "awq": (4,)}
"""Format, which is also the one method that it can hold -> bits that servers read."""
PARTS = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point")
INTERLEAVED = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight outputs the AWQ format keeps at each place of a 32-bit word, lowest bits first."""


def check(name: str, *, method: str, bits: int | None) -> str:
    """Return the format. Raises UserError for one that is unknown or does not hold what this method
    makes.
    """
    if name == DEFAULT:
        return name
    if name not in BITS:
        raise unknown("format", name, (DEFAULT, *BITS))
    if method != name:
        raise UserError(
            f"--format {name} holds what --method {name} makes, not {method}. Use --format"
            f" {DEFAULT}, which holds everything."
        )
    if bits not in BITS[name]:
        raise UserError(
            f"--format {name} has no --bits {bits} that servers read. Known:"
            f" {', '.join(map(str, BITS[name]))}."
        )
    return name


def rewrite(folder: Path, out: Path, *, name: str, bits: int, group_size: int) -> None:
    """Write a compressed-tensors folder to `out` in another format, everything that is no integer
    as float16.

    Raises UserError for a layer that the format cannot hold or a number beyond float16.
    """
    from compressed_tensors.entrypoints.convert import convert_checkpoint

    convert_checkpoint(
        folder, out, _Converter(name, bits=bits, group_size=group_size), device="cpu"
    )


class _Converter:
    """What convert_checkpoint asks: which tensors belong together, what they become, and what
    config.json says of it.
    """

    def __init__(self, name: str, *, bits: int, group_size: int) -> None:
        self.name, self.bits, self.group_size = name, bits, group_size

    def get_dependencies(self, weight_name: str) -> set[str]:
        layer, _, part = weight_name.rpartition(".")
        parts = PARTS[1:] if self.name == "awq" else PARTS[1:3]
        return {f"{layer}.{other}" for other in parts} if part == PARTS[0] else set()

    def validate(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return tensors  # without numbers, nothing can be told

    def update_config(self, config: object) -> None:
        """The new quantization_config is none of compressed-tensors."""

    def update_model_config(self, model_config: dict[str, Any]) -> dict[str, Any]:
        layout = {
            "gptq": {"desc_act": False, "sym": True, "checkpoint_format": "gptq"},
            "awq": {"version": "gemm", "zero_point": True, "modules_to_not_convert": ["lm_head"]},
        }
        own = {
            "quant_method": self.name,
            "bits": self.bits,
            "group_size": self.group_size,
            **layout[self.name],
        }
        return {**model_config, "dtype": "float16", "quantization_config": own}

    def process(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for layer in [
            name.removesuffix(f".{PARTS[0]}") for name in tensors if name.endswith(f".{PARTS[0]}")
        ]:
            packed, scale, shape, points = (tensors.pop(f"{layer}.{part}", None) for part in PARTS)
            assert packed is not None and scale is not None and shape is not None
            outputs, inputs = shape.tolist()
            if outputs * self.bits % 32:
                raise UserError(
                    f"--format {self.name} does not hold the {outputs} outputs of layer {layer}."
                    f" Use --format {DEFAULT}."
                )
            if points is None:
                made = self._gptq(packed, outputs=outputs, inputs=inputs)
            else:
                made = self._awq(packed, points, outputs=outputs, inputs=inputs)
            found |= {f"{layer}.{part}": value for part, value in made.items()} | {
                f"{layer}.scales": scale.T.contiguous()
            }
        return {name: _half(value, name) for name, value in (tensors | found).items()}

    def _gptq(self, packed: torch.Tensor, *, outputs: int, inputs: int) -> dict[str, torch.Tensor]:
        """The integers lie along the inputs in both formats; the zero point is the middle for all,
        and the format takes 1 off it.
        """
        import torch

        word = sum(((1 << (self.bits - 1)) - 1) << place for place in range(0, 32, self.bits))
        zeros = torch.full(
            (inputs // self.group_size, outputs * self.bits // 32), word, dtype=torch.int32
        )
        order = (torch.arange(inputs) // self.group_size).to(torch.int32)
        return {"qweight": packed.T.contiguous(), "qzeros": zeros, "g_idx": order}

    def _awq(
        self, packed: torch.Tensor, points: torch.Tensor, *, outputs: int, inputs: int
    ) -> dict[str, torch.Tensor]:
        import torch
        from compressed_tensors.compressors.pack_quantized.helpers import (
            pack_to_int32,
            unpack_from_int32,
        )

        def along_outputs(values: torch.Tensor) -> torch.Tensor:
            mixed = values.T.reshape(-1, outputs // 8, 8)[:, :, list(INTERLEAVED)]
            packed_words: torch.Tensor = pack_to_int32(mixed.reshape(-1, outputs), self.bits)
            return packed_words

        zeros = unpack_from_int32(
            points, self.bits, torch.Size((outputs, inputs // self.group_size)), packed_dim=0
        )
        return {
            "qweight": along_outputs(
                unpack_from_int32(packed, self.bits, torch.Size((outputs, inputs)))
            ),
            "qzeros": along_outputs(zeros),
        }


def _half(value: torch.Tensor, name: str) -> torch.Tensor:
    import torch

    if not value.is_floating_point():
        return value
    half = value.to(torch.float16)
    if not bool(torch.isfinite(half).all()):
        raise UserError(
            f"{name} holds numbers beyond float16, which the format needs. Use --format {DEFAULT}."
        )
    return half
