"""How much memory a model needs, told from its file headers before anything is loaded, and how much
this machine has.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

from comptrust import config
from comptrust.errors import ServiceError, UserError
from comptrust.models import headers

CGROUP = Path("/sys/fs/cgroup")
PACKED = ("weight_packed", "qweight")
"""Ends of the names of tensors that compressed-tensors, GPTQ and AWQ keep packed; they are unpacked
before the layer first computes.
"""


def weights(folder: Path, *, float_bytes: int | None) -> int:
    """Return the bytes that the weights take once the model computes, from the headers of the
    safetensors files.

    `float_bytes` is the size of one floating-point number after loading, None for as saved. Packed
    integers of compressed-tensors, GPTQ and AWQ count unpacked, other formats as saved. Buffers,
    activations and caches come on top.
    """
    packed_bits = _packed_bits(quantization(folder))
    total = 0
    for tensor in headers.tensors(folder):
        if tensor.name.endswith(PACKED):
            total += tensor.count * 32 // packed_bits * (float_bytes or 2)
        elif float_bytes and tensor.dtype in headers.FLOATS:
            total += tensor.count * float_bytes
        else:
            total += tensor.stored
    return total


def available() -> int:
    """Return the bytes of memory that a new model may take: free RAM within the container's limit,
    and free accelerator memory.
    """
    import psutil
    import torch

    free: int = psutil.virtual_memory().available
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        if limit != "max":
            free = min(free, int(limit) - int((CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no cgroup of version 2 here
    if torch.cuda.is_available():
        free += sum(
            torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())
        )
    return free


def check(folder: Path, *, float_bytes: int | None) -> None:
    """Raise ServiceError with the figures if the weights alone cannot fit."""
    needed, free = weights(folder, float_bytes=float_bytes), available()
    if needed > free:
        raise ServiceError(
            f"{folder.name} needs at least {needed / 1e9:.1f} GB of memory for its weights and"
            f" {free / 1e9:.1f} GB are free here. Nothing was loaded; use a machine with more, a"
            " smaller model, or a server (--backend openai)."
        )


def peak() -> dict[str, float]:
    """Return the most memory that this process has taken so far, in bytes, as metrics; of
    accelerators only where there is one.
    """
    import torch

    found = {"memory/peak_ram": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0}
    if torch.cuda.is_available():
        found["memory/peak_gpu"] = float(
            sum(
                torch.cuda.max_memory_allocated(number)
                for number in range(torch.cuda.device_count())
            )
        )
    return found


def saved_dtype(folder: Path) -> str | None:
    """Return the number format that config.json names, such as `bfloat16`."""
    found = settings(folder)
    return found.get("dtype") or found.get("torch_dtype")


def quantization(folder: Path) -> dict[str, Any]:
    """Return the folder's quantization_config, empty if its weights are not quantized."""
    found = settings(folder).get("quantization_config")
    return found if isinstance(found, dict) else {}


def quantized(folder: Path) -> bool:
    """Tell whether the folder's weights are stored in a quantized format."""
    return bool(quantization(folder))


def settings(folder: Path) -> dict[str, Any]:
    """Return the folder's config.json, empty if it holds no JSON object. Raises UserError if there
    is none.
    """
    path = folder / "config.json"
    text = config.read_text(path)
    try:
        found = config.json_value(text, where=str(path))
    except UserError:
        return {}  # loading says what is wrong with it
    return found if isinstance(found, dict) else {}


def _packed_bits(quantization: dict[str, Any]) -> int:
    groups = (quantization.get("config_groups") or {}).values()
    found = [
        quantization.get("bits", quantization.get("w_bit")),
        *((group.get("weights") or {}).get("num_bits") for group in groups),
    ]
    return max((bits for bits in found if isinstance(bits, int) and bits > 0), default=8)
