"""How much memory a model needs, from its file headers, and how much this machine has."""

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comptrust import config
from comptrust.errors import ServiceError, UserError
from comptrust.models import headers

CGROUP = Path("/sys/fs/cgroup")
PACKED = ("weight_packed", "qweight")
"""Name endings of packed tensors (compressed-tensors; GPTQ and AWQ), unpacked before first use."""
NATIVE = {"fp8": (8, None), "mxfp4": (4, 32)}
"""Layouts in which publishers release models that have no other weights -> bits, group size."""
BESIDE = {
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
    "hf_quant_config.json": "modelopt",
}
"""Files in which AutoGPTQ, AutoAWQ and ModelOpt stated the layout before config.json did."""


def weights(folder: Path, *, float_bytes: int | None) -> int:
    """Return the bytes that a folder's weights take once the model computes.

    `float_bytes` is the size of a floating-point number after loading, None for as saved. Numbers
    of 8 bits or less count unpacked, as they are computed. Buffers,
    activations and caches are not included.
    """
    stated = [bits for bits, _ in schemes(quantization(folder)) if isinstance(bits, int)]
    packed_bits = max((bits for bits in stated if bits > 0), default=8)  # layers may differ
    by_layer = bits_by_layer(quantization(folder))
    total = 0
    for tensor in headers.tensors(folder):
        if tensor.name.endswith(PACKED):
            bits = by_layer.get(tensor.name.rpartition(".")[0], packed_bits)
            total += tensor.stored * 8 // bits * (float_bytes or 2)
        elif tensor.dtype not in headers.FLOATS and tensor.name.endswith((".weight", "_blocks")):
            # numbers of 8 bits, or two of 4 bits each
            total += tensor.count * (1 + tensor.name.endswith("_blocks")) * (float_bytes or 2)
        elif float_bytes and tensor.dtype in headers.FLOATS:
            total += tensor.count * float_bytes
        else:
            total += tensor.stored
    return total


def available() -> int:
    """Return the bytes free for a new model: RAM, within a cgroup limit, plus GPU memory."""
    import psutil
    import torch

    free: int = psutil.virtual_memory().available
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        if limit != "max":
            free = min(free, int(limit) - int((CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no limit: cgroups of version 2 are not used here
    devices = range(torch.cuda.device_count())
    return free + sum(torch.cuda.mem_get_info(device)[0] for device in devices)


def check(folder: Path, *, float_bytes: int | None) -> None:
    """Raise ServiceError, with both figures, if the weights alone cannot fit in memory."""
    check_bytes(folder, weights(folder, float_bytes=float_bytes), what="its weights")


def check_bytes(folder: Path, needed: int, *, what: str) -> None:
    """Raise ServiceError, with both figures, if so many bytes are not free."""
    if needed > (free := available()):
        raise ServiceError(
            f"{folder} needs at least {needed / 1e9:.1f} GB of memory for {what} and"
            f" {free / 1e9:.1f} GB are free here. Nothing was loaded; use a machine with more, a"
            " smaller model, or a server (backend openai)."
        )


def in_use() -> int:
    """Return the bytes in use now: on the GPUs if there are any, else of the whole process."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return sum(map(torch.cuda.memory_allocated, range(torch.cuda.device_count())))
    return int(psutil.Process().memory_info().rss)


def peak() -> dict[str, float]:
    """Return this process's peak memory so far, in bytes, as metrics; a GPU's if there is one."""
    import torch

    peaks = {"memory/peak_ram": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0}
    if torch.cuda.is_available():
        peaks["memory/peak_gpu"] = float(
            sum(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count())))
        )
    return peaks


def quantization(folder: Path) -> dict[str, Any]:
    """Return the folder's quantization_config, empty if its weights are not quantized.

    Raises UserError for one that does not say by its `quant_method` how the weights are read.
    """
    stated = settings(folder)
    fields, mlx = stated.get("quantization_config"), stated.get("quantization")
    if isinstance(mlx, dict):
        return {"quant_method": "mlx", **mlx}
    if fields is not None:
        if isinstance(fields, dict) and isinstance(fields.get("quant_method"), str):
            return fields
        raise UserError(
            f"quantization_config of {folder} names no quant_method (it is {str(fields)[:60]}), so"
            " nothing says how the weights are read. Correct config.json, or fetch it again."
        )
    for name, method in BESIDE.items():
        if (folder / name).exists():
            fields = _object(folder / name)
            inner = fields.get("quantization")
            return {"quant_method": method} | (inner if isinstance(inner, dict) else fields)
    return {}


def settings(folder: Path) -> dict[str, Any]:
    """Return the folder's config.json, empty if it is not a JSON object.

    Raises UserError if the file is missing.
    """
    return _object(folder / "config.json")


def _object(path: Path) -> dict[str, Any]:
    text = config.read_text(path)
    try:
        fields = config.json_value(text, where=str(path))
    except UserError:
        return {}  # loading reports what is wrong with it
    return fields if isinstance(fields, dict) else {}


def schemes(quantization: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return the different (bits, group size) of layers that a quantization_config states.

    It reads GPTQ, AWQ and compressed-tensors, and checks neither of the two.
    """
    if (name := quantization.get("quant_method")) in NATIVE:
        return [NATIVE[str(name)]]
    groups = quantization.get("config_groups")
    if not isinstance(groups, dict):
        size = quantization.get("group_size", quantization.get("q_group_size"))
        return [(stated_bits(quantization), size)]
    of_groups = [group.get("weights") for group in groups.values() if isinstance(group, dict)]
    weights = [scheme for scheme in of_groups if isinstance(scheme, dict)]
    kinds = [(scheme.get("num_bits"), scheme.get("group_size")) for scheme in weights]
    return [kind for place, kind in enumerate(kinds) if kind not in kinds[:place]]


def bits_by_layer(quantization: Mapping[str, Any]) -> dict[str, int]:
    """Return layer -> bits where a quantization_config names the layers of several widths.

    Empty if all quantized layers have the same bits.
    """
    if len({bits for bits, _ in schemes(quantization)}) < 2:
        return {}
    named: dict[str, int] = {}
    for group in quantization["config_groups"].values():
        bits = group["weights"].get("num_bits")
        named |= {str(name): int(bits) for name in group.get("targets") or ()}
    return named


def stated_bits(quantization: Mapping[str, Any]) -> Any:
    """Return the bits that GPTQ or AWQ settings state; AutoAWQ called them `w_bit`."""
    return quantization.get("bits", quantization.get("w_bit"))
