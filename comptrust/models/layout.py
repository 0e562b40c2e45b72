"""What a folder's weights are, as its files state it: numbers, bits, groups, activations, cache."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from comptrust.errors import UserError
from comptrust.models import headers, memory, precision, readers

MODELOPT = {
    "FP8": ("fp8", 8, None),
    "NVFP4": ("nvfp4", 4, 16),
    "NVFP4_AWQ": ("nvfp4", 4, 16),
    "W4A16_AWQ": ("w4a16", 4, 128),
    "W4A8_AWQ": ("w4a8", 4, 128),
    "W8A8_SQ_PER_CHANNEL": ("w8a8", 8, None),
    "MXFP4": ("mxfp4", 4, 32),
}
"""ModelOpt's `quant_algo` -> method, bits, group size."""
MICROSCALED: dict[tuple[Any, Any], str] = {(4, 16): "nvfp4", (4, 32): "mxfp4", (8, 32): "mxfp8"}
"""(bits, group size) of floats that share a scale."""


@dataclass(frozen=True)
class Layout:
    """What the files state."""

    method: str
    """As in a recipe: `none`, a method, or what the numbers are, such as `w4a16`."""
    text: str
    """All of it, for people."""
    bits: int | None = None
    group_size: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """Options of a recipe."""
    structure: str | None = None
    """Pattern of the zeros in 8-bit floats, which the files do not state."""
    algorithms: tuple[str, ...] = ()
    """Methods whose results look like this, so that the files do not contradict them."""


def describe(folder: Path) -> Layout:
    """Return what the files of a folder state. Raises UserError for several kinds of layers."""
    settings = memory.quantization(folder)
    if not settings:
        return Layout("none", precision.weights(folder))
    if isinstance(settings.get("config_groups"), dict) and "modelopt" not in str(settings):
        return _compressed_tensors(folder, settings)
    name = str(settings.get("quant_method"))
    [(bits, size)] = memory.schemes(settings)
    options: dict[str, Any] = {}
    method = re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("intel/"))
    if name == "modelopt":
        algorithm = str(settings.get("quant_algo"))
        method, bits, size = MODELOPT.get(algorithm, (f"modelopt {algorithm}", None, None))
    elif name == "bitsandbytes":
        bits = 4 if settings.get("load_in_4bit") else 8
    elif name == "hqq":
        inner = settings.get("quant_config", {}).get("weight_quant_params", {})
        bits, size = inner.get("nbits"), inner.get("group_size")
    elif name == "fp8":
        block = settings.get("weight_block_size")
        options = {"scheme": "block" if block else str(settings.get("activation_scheme"))}
    elif name == "mxfp4":
        options = {"scheme": "w4a16"}
    elif settings.get("sym", True) is False:
        options = {"symmetric": False}
    size = size if isinstance(size, int) and size > 0 else None
    parts = [f"in the {name.upper()} format", *(f"{key} {value}" for key, value in options.items())]
    parts += [f"{bits} bits"] if bits else []
    parts += [f"groups of {size}"] if size else []
    return Layout(method, ", ".join(parts), bits, size, options, None, (method,))


def _compressed_tensors(folder: Path, settings: Mapping[str, Any]) -> Layout:
    groups = [group for group in settings["config_groups"].values() if isinstance(group, dict)]
    kinds = memory.schemes(settings)
    if not kinds:  # as in formats that nothing reads any longer, which are named so
        readers.check(folder)
    if len(kinds) != 1:
        raise UserError(
            f"quantization_config of {folder} has {len(kinds)} kinds of layers (bits, group size):"
            f" {sorted(map(str, kinds))}. Only one kind is supported."
        )
    weights = groups[0].get("weights") or {}
    inputs = groups[0].get("input_activations") or {}
    [(bits, size)] = kinds
    size = size if weights.get("strategy") in ("group", "tensor_group") else None
    spread = int(inputs.get("num_bits") or 16)
    options: dict[str, Any] = {}
    if weights.get("type") == "float" and (bits, size) in MICROSCALED:
        method = MICROSCALED[bits, size]
        options["scheme"] = f"w{bits}a{spread}"
    elif weights.get("type") == "float":
        method = f"fp{bits}"
        dynamic = "dynamic" if inputs.get("dynamic") else "static"
        block = weights.get("strategy") == "block"
        options["scheme"] = "block" if block else (dynamic if inputs else f"w{bits}a16")
    else:
        method = f"w{bits}a{'fp' if inputs.get('type') == 'float' else ''}{spread}"
        if inputs and not inputs.get("dynamic"):
            options["scheme"] = "static"
        if weights.get("symmetric") is False:
            options["symmetric"] = False
    plain = method == f"w{bits}a16"
    cache = settings.get("kv_cache_scheme")
    if isinstance(cache, dict):
        options["kv_cache"] = (
            f"{'fp' if cache.get('type') == 'float' else 'int'}{cache['num_bits']}"
        )
    if transforms := settings.get("transform_config"):
        kinds_of = transforms.get("config_groups", {}).values()
        options["transforms"] = ",".join(sorted({str(one.get("type")) for one in kinds_of}))
    pattern = (settings.get("sparsity_config") or {}).get("sparsity_structure")
    if pattern not in (None, "unstructured", "0:0"):
        options["pattern"] = str(pattern)
    structure = "2:4" if method == "fp8" and _two_of_four(folder) else None
    ignored = [str(name) for name in settings.get("ignore") or ()]
    text = [
        f"{bits}-bit {weights.get('type')} weights per {weights.get('strategy')}"
        f"{f' of {size}' if size else ''}",
        f"activations {_activations(inputs)}",
        *(f"{key} {value}" for key, value in options.items()),
        f"pruned {structure}" if structure else "",
        f"left dense: {', '.join(ignored[:4])}{' ...' if ignored[4:] else ''}" if ignored else "",
    ]
    algorithms = ("gptq", "awq", "rtn", "autoround") if plain and not cache else ()
    return Layout(
        method,
        f"compressed-tensors {method}: {', '.join(filter(None, text))}",
        bits,
        size,
        options,
        structure,
        algorithms,
    )


def _two_of_four(folder: Path) -> bool:
    """Whether of every four 8-bit floats of each matrix at most two are not zero."""
    count = 0
    for tensor in headers.tensors(folder):
        if (
            tensor.dtype.startswith("F8_")
            and tensor.count % 4 == 0
            and tensor.name.endswith("weight")
        ):
            codes = np.memmap(tensor.path, np.uint8, "r", tensor.start, (tensor.count // 4, 4))
            if int(np.count_nonzero(codes & 0x7F, axis=1).max(initial=0)) > 2:
                return False
            count += 1
    return count > 0


def _activations(inputs: Mapping[str, Any]) -> str:
    if not inputs:
        return "dense"
    when = "dynamic" if inputs.get("dynamic") else "static"
    return f"{inputs.get('num_bits')}-bit {inputs.get('type')} per {inputs.get('strategy')}, {when}"
