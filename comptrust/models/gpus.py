"""The GPUs that a server may use, and how a model is laid out on them."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from comptrust.errors import ServiceError
from comptrust.models import headers, memory

SHARE = 0.9
"""Of a GPU's memory, which servers may take together."""
ROOM = 1.15
"""Memory for weights and the least that a server needs beside them, as a multiple of the weights.

Estimated, not measured."""


@dataclass(frozen=True)
class Layout:
    """How many GPUs share one copy of the weights, and how many copies there are."""

    tensor: int = 1
    data: int = 1


def count() -> int:
    """Return the number of GPUs that may be used (CUDA_VISIBLE_DEVICES, else nvidia-smi)."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([number for number in visible.split(",") if number.strip() not in ("", "-1")])
    return len(_query("index"))


def layout(folder: Path, *, dtype: str, share: float = SHARE) -> Layout:
    """Return the layout for a model on all GPUs: as many copies as fit, each on as few as it needs.

    `share` is what its server may take of each GPU's memory. GPUs that do not tell their memory are
    taken to be large enough. Raises ServiceError, with the figures, if its weights do not fit on
    all of them together.
    """
    devices, needed = count(), ROOM * weights(folder, dtype=dtype)
    if devices == 0:
        return Layout()
    sizes = [_query(f"memory.{what}") for what in ("total", "free")]
    if not all(sizes):
        return Layout(data=devices)
    heads = memory.settings(folder).get("num_attention_heads", 1)
    total, free = (min(map(float, each)) * 2**20 for each in sizes)  # nvidia-smi counts MiB
    smallest = min(share * total, SHARE * free)
    for tensor in range(1, devices + 1):
        divides = devices % tensor == 0 and isinstance(heads, int) and heads % tensor == 0
        if divides and needed <= tensor * smallest:
            return Layout(tensor=tensor, data=devices // tensor)
    raise ServiceError(
        f"{folder} needs about {needed / 1e9:.1f} GB of GPU memory for its weights in {dtype}, and"
        f" {devices} x {smallest / 1e9:.1f} GB are free for a server. Nothing was loaded. Free the"
        " GPUs, use more or larger ones, or a smaller model."
    )


def weights(folder: Path, *, dtype: str) -> int:
    """Return the bytes of a folder's weights on a server, where packed ones stay packed."""
    size = next(size for name, size in SIZES.items() if dtype.endswith(name))
    return sum(
        tensor.count * size if tensor.dtype in headers.FLOATS else tensor.stored
        for tensor in headers.tensors(folder)
    )


SIZES = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}


def _query(field: str) -> list[str]:
    """Return one line for each GPU that nvidia-smi shows, empty without nvidia-smi."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    some = [f"--id={visible}"] if visible else []
    line = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits", *some]
    try:
        listed = subprocess.run(line, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return listed.stdout.split()
