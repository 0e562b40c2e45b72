"""What the files of a model show of its weights: dense, quantized under any name, or pruned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from comptrust.errors import UserError
from comptrust.models import loading, precision
from comptrust.records import Dtype

FP8_DYNAMIC = {
    "quant_method": "compressed-tensors",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
            "input_activations": {"num_bits": 8, "type": "float", "dynamic": True},
        }
    },
}
W8A8 = {
    "quant_method": "compressed-tensors",
    "config_groups": {"group_0": {"input_activations": {"type": "int", "num_bits": 8}}},
}


def changed(
    tiny: Path,
    folder: Path,
    change: Callable[[torch.Tensor], torch.Tensor] = lambda weight: weight,
    **settings: object,
) -> Path:
    """Copy a model with other linear layers and further settings."""
    shutil.copytree(tiny, folder)
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if name.endswith("proj.weight"):
            tensors[name] = change(tensors[name])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    return folder


def rounded(weight: torch.Tensor, *, levels: int) -> torch.Tensor:
    """Round each group of 32 to this many levels, and keep the dtype."""
    groups = weight.float().reshape(-1, 32)
    low, high = groups.min(dim=1, keepdim=True).values, groups.max(dim=1, keepdim=True).values
    step = (high - low) / (levels - 1)
    return (low + ((groups - low) / step).round() * step).reshape(weight.shape).to(weight.dtype)


@pytest.mark.parametrize(
    ("change", "settings", "expected"),
    [
        (lambda weight: weight, {}, "dense (BF16)"),
        (lambda weight: weight.float(), {}, "dense (BF16, F32)"),
        (lambda weight: rounded(weight, levels=256), {}, "dense (BF16)"),
        (
            lambda weight: rounded(weight, levels=16),
            {},
            "quantized (BF16 with at most 4 bits of information)",
        ),
        (
            lambda weight: rounded(weight, levels=16),
            {"dequantized_from": "Q4_1"},
            "dense (BF16, dequantized from Q4_1)",
        ),
        (lambda weight: weight.to(torch.int8), {}, "quantized (I8)"),
        (lambda weight: weight.to(torch.float8_e4m3fn), {}, "quantized (F8_E4M3)"),
        (
            lambda weight: weight,
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "quantized (gptq, 4 bits)",
        ),
        (
            lambda weight: weight,
            {"quantization_config": FP8_DYNAMIC, "num_experts": 4},
            "quantized (compressed-tensors, activations of experts not rounded by hf)",
        ),
        (
            lambda weight: weight,
            {"quantization_config": W8A8},
            "quantized (compressed-tensors, activations scaled by max/127.5 in hf and by max/127 in"
            " vLLM)",
        ),
        (
            lambda weight: weight,
            {"quantization_config": FP8_DYNAMIC, "num_experts_per_tok": 1},
            "quantized (compressed-tensors)",
        ),
        (
            lambda weight: weight * (torch.arange(weight.shape[1]) % 2),
            {},
            "pruned (50% zeros)",
        ),
    ],
)
def test_what_the_weights_show(
    tiny_model: Path,
    tmp_path: Path,
    change: Callable[[torch.Tensor], torch.Tensor],
    settings: dict[str, object],
    expected: str,
) -> None:
    assert precision.weights(changed(tiny_model, tmp_path / "m", change, **settings)) == expected


@pytest.mark.parametrize(
    ("asked", "accelerator", "dtype"),
    [
        ("auto", False, "float32"),
        ("auto", True, "bfloat16"),
        ("float32", True, "float32"),
        ("bfloat16", False, "bfloat16"),
    ],
)
def test_the_dtype_depends_on_the_kind_of_device_alone(
    tiny_model: Path, asked: Dtype, accelerator: bool, dtype: str
) -> None:
    assert precision.computed(tiny_model, asked, accelerator=accelerator) == dtype


def test_a_checkpoint_that_states_no_dtype_has_that_of_its_floats(
    tiny_model: Path, tmp_path: Path
) -> None:
    half = changed(tiny_model, tmp_path / "m", lambda weight: weight.half(), dtype=None)
    assert precision.own(half) == "float16"


@pytest.mark.parametrize("asked", ["auto", "float32", "bfloat16"])
def test_a_model_computes_in_the_dtype_asked_for(tiny_model: Path, asked: Dtype) -> None:
    model, _ = loading.load(tiny_model, dtype=asked)
    assert model.dtype == (torch.bfloat16 if asked == "bfloat16" else torch.float32)


def test_torn_weights_are_one_line(tiny_model: Path, tmp_path: Path) -> None:
    torn = changed(tiny_model, tmp_path / "m") / "model.safetensors"
    torn.write_bytes(torn.read_bytes()[:-9])
    with pytest.raises(UserError, match="Cannot read the weights in"):
        precision.weights(torn.parent)


@pytest.mark.parametrize(
    ("dtype", "cpuinfo", "accelerator", "said"),
    [
        ("bfloat16", "flags\t\t: fpu avx2\n", False, True),
        ("bfloat16", "flags\t\t: fpu avx512_bf16 amx_bf16\n", False, False),
        ("bfloat16", "Features\t: fp asimd bf16\n", False, False),
        ("bfloat16", "flags\t\t: fpu avx2\n", True, False),
        ("float32", "flags\t\t: fpu avx2\n", False, False),
        ("auto", "flags\t\t: fpu avx2\n", False, False),
        ("bfloat16", "model name: unknown\n", False, False),
    ],
)
def test_a_processor_without_bfloat16_products_is_named(
    dtype: Dtype, cpuinfo: str, accelerator: bool, said: bool, tmp_path: Path
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo)
    note = precision.slow_here(dtype, accelerator=accelerator, cpuinfo=file)
    assert ("has no bfloat16 products" in note) is said
    assert not precision.slow_here(dtype, accelerator=False, cpuinfo=tmp_path / "none")
