"""What a folder's files show about its weights: whether they are dense, and their dtype.

Names and shapes come from the headers; of each matrix only a sample of values is read.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.errors import UserError
from comptrust.models import gguf, headers, memory
from comptrust.records import PRUNED, Dtype

if TYPE_CHECKING:
    import torch

NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Names of floats of 16 bits and more: in safetensors headers, and elsewhere."""
CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_PRODUCTS = {"amx_bf16", "avx512_bf16", "bf16"}
"""What Linux calls a processor's own matrix products in bfloat16 (Intel, AMD and ARM)."""
EXPERTS = re.compile(r"^(moe_|n_)?(num_|n_)?(local_|routed_)?experts$")
"""Settings that say how many experts a block has."""
NOT_WEIGHTS = ("bias", "_ids", "inv_freq")
"""Endings of the names of tensors that are no weights, although they may have two dimensions."""
NOT_LINEAR = ("embed", "lm_head", "wte", "wpe")
"""Parts of the names of embeddings and heads, which compression leaves as they are."""
SAMPLE = 1 << 16
"""Values read of each matrix."""
ROUNDED_TO_ZERO = 0.3
"""Largest share of zeros that rounding to 4 bits makes."""
GROUP, LEVELS = 32, 16
"""A matrix with at most LEVELS different values in every GROUP of neighbors was quantized to 4 bits
or fewer, whatever it is stored as. Weights that were trained at 16 bits have about 30."""


def computed(folder: Path, dtype: Dtype, *, accelerator: bool) -> str:
    """Return the dtype that a model computes in, such as `float32`.

    `auto` is float32 on any processor, and on an accelerator the dtype of the checkpoint.
    """
    if dtype != "auto":
        return dtype
    return own(folder) if accelerator else "float32"


def slow_here(dtype: Dtype, *, accelerator: bool, cpuinfo: Path = CPUINFO) -> str:
    """Return what to tell a user about bfloat16 on a processor without such products, else nothing.

    Nothing is said where the system does not list what its processor can do.
    """
    try:
        known = set(cpuinfo.read_text().split())
    except OSError:
        return ""
    listed = known & {"flags", "Features"}
    if dtype != "bfloat16" or accelerator or not listed or known & BFLOAT16_PRODUCTS:
        return ""
    return (
        "this processor has no bfloat16 products: the answers are right, but float32 may well be"
        " faster (--dtype float32, for both models)"
    )


def own(folder: Path) -> str:
    """Return the dtype that config.json states, else that of most of the floats in the files."""
    fields = memory.settings(folder)
    stated = str(fields.get("dtype") or fields.get("torch_dtype"))
    if stated in NAMES.values():
        return stated
    return stored(folder)[1]


def stored(folder: Path) -> tuple[dict[str, str], str]:
    """Return the dtype in which the files hold each float tensor, and that of most of them."""
    floats = [tensor for tensor in headers.tensors(folder) if tensor.dtype in NAMES]
    counts = dict.fromkeys(NAMES, 0)
    for tensor in floats:
        counts[tensor.dtype] += tensor.count
    usual = max(counts, key=lambda name: counts[name])
    return {tensor.name: NAMES[tensor.dtype] for tensor in floats}, NAMES[usual]


def weights(folder: Path) -> str:
    """Describe the weights; the first word is `dense`, `quantized` or `pruned`.

    Dense means that every matrix has floats of 16 bits or more, that almost none of them are zero,
    and that they hold more than 4 bits of information, unless config.json says in
    `dequantized_from` what they were made from. Raises UserError for files that cannot be read.
    """
    from safetensors import SafetensorError

    headers.check_present(folder)
    if file := gguf.file_in(folder):
        return gguf.describe(file)
    if settings := memory.quantization(folder):
        bits = memory.stated_bits(settings)
        kind = str(settings.get("quant_method", "unknown format"))
        parts = (kind, f"{bits} bits" if bits else "", _activations(folder))
        return f"quantized ({', '.join(filter(None, parts))})"
    matrices = [
        tensor
        for tensor in headers.tensors(folder)
        if len(tensor.shape) > 1 and not tensor.name.endswith(NOT_WEIGHTS)
    ]
    dtypes = sorted({tensor.dtype for tensor in matrices})
    if narrow := [dtype for dtype in dtypes if dtype not in NAMES]:
        return f"quantized ({', '.join(narrow)})"
    dtype = ", ".join(dtypes)
    try:
        samples = list(_samples(folder))
    except (OSError, SafetensorError) as error:
        raise UserError(f"Cannot read the weights in {folder}: {error}.") from error
    zeros = sum(int((sample == 0).sum()) for sample in samples)
    share = zeros / max(1, sum(sample.numel() for sample in samples))
    origin = memory.settings(folder).get("dequantized_from")
    if share > (ROUNDED_TO_ZERO if origin else PRUNED):
        return f"pruned ({share:.0%} zeros)"
    if origin:
        return f"dense ({dtype}, dequantized from {origin})"
    if 2 * sum(map(_coarse, samples)) > len(samples):
        return f"quantized ({dtype} with at most 4 bits of information)"
    return f"dense ({dtype})"


def _activations(folder: Path) -> str:
    """Say which activations transformers leaves as they are although the files round them.

    So its numbers are those of a server only as far as weights go. Others it may round otherwise:
    compressed-tensors scales integers by half their range, vLLM by the largest one.
    """
    settings, fields = memory.quantization(folder), memory.settings(folder)
    if settings.get("quant_method") == "fp8":  # read as floats, see readers.options
        return "activations not rounded by hf"
    groups = settings.get("config_groups")
    groups = groups.values() if isinstance(groups, dict) else ()
    stated = [group.get("input_activations") for group in groups if isinstance(group, dict)]
    rounded = [inputs for inputs in stated if isinstance(inputs, dict)]
    inner = fields.get("text_config")
    names = fields.keys() | (inner.keys() if isinstance(inner, dict) else set())
    experts = any(EXPERTS.search(name) for name in names)
    if rounded and experts:
        return "activations of experts not rounded by hf"
    whole = any((one.get("type"), one.get("num_bits")) == ("int", 8) for one in rounded)
    return "activations scaled by max/127.5 in hf and by max/127 in vLLM" if whole else ""


def _samples(folder: Path) -> Iterator["torch.Tensor"]:
    """Yield the first values of each linear layer's matrix, shape (groups, GROUP)."""
    from safetensors import safe_open

    for path in headers.files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                view = file.get_slice(name)
                shape = view.get_shape()
                linear = len(shape) > 1 and not name.endswith(NOT_WEIGHTS)
                if not linear or shape[-1] % GROUP or any(part in name for part in NOT_LINEAR):
                    continue
                rows = max(1, SAMPLE * shape[0] // max(1, math.prod(shape)))
                yield view[:rows].reshape(-1, GROUP)[: SAMPLE // GROUP]


def _coarse(sample: "torch.Tensor") -> bool:
    ordered = sample.sort(dim=1).values
    return bool(((ordered.diff(dim=1) != 0).sum(dim=1) < LEVELS).all())
