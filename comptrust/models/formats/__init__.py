"""The GPTQ and AWQ file formats (of AutoGPTQ and AutoAWQ), without the packages that defined them.

A layer is stored as `qweight`, its integers, packed into 32-bit words along the inputs (GPTQ) or,
interleaved, along the outputs (AWQ); `qzeros`, its zero points, packed along the outputs; `scales`,
one row for each group of inputs; and, in GPTQ, `g_idx`, the group of each input.
"""

from dataclasses import dataclass
from typing import Any

from comptrust.errors import UserError, unknown

DEFAULT = "compressed-tensors"
"""The format that holds what every method produces."""
PARTS = ("qweight", "qzeros", "scales", "g_idx")
INTERLEAVED = (0, 2, 4, 6, 1, 3, 5, 7)
"""AWQ: the output, of eight, that is stored at each place of a word, lowest bits first."""


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
        settings={"version": "gemm", "zero_point": True, "modules_to_not_convert": ["lm_head"]},
    ),
}
"""By name, which is also that of the one method whose results the format holds."""


def check(name: str, *, method: str, bits: int | None) -> str:
    """Return the format's name.

    Raises UserError if it is unknown or cannot hold what this method produces.
    """
    if name == DEFAULT:
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
