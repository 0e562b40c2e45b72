"""Checkpoints in the layouts of llm-compressor register under their true names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from comptrust.cli.commands.register import command
from comptrust.compression import engine, existing
from comptrust.compression.recipe import stated
from comptrust.errors import UserError
from comptrust.models import layout, loading, measure
from comptrust.records import Checkpoint
from comptrust.tracking import registry

CACHE = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}
PRESETS = {
    "FP8_DYNAMIC": ("fp8-dynamic-8bit-s0", 8 + 16 * 1152 / 163840),
    "FP8_BLOCK": ("fp8-block-8bit-s0", 8.0),
    "W8A8": ("w8a8-8bit-s0", 8 + 16 * 1152 / 163840),
    "W4A16": ("w4a16-4bit-g128-s0", 4 + 16 / 128),
    "W4A16_ASYM": ("w4a16-asym-4bit-g128-s0", 4 + 20 / 128),
    "NVFP4": ("nvfp4-w4a4-4bit-g16-s0", 4 + 8 / 16),
    "NVFP4A16": ("nvfp4-w4a16-4bit-g16-s0", 4 + 8 / 16),
    "MXFP4A16": ("mxfp4-w4a16-4bit-g32-s0", 4 + 8 / 32),
    "MXFP8A16": ("mxfp8-w8a16-8bit-g32-s0", 8 + 8 / 32),
    "FP8": ("fp8-static-kv-fp8-8bit-s0", 8.0),
}
"""Preset -> recipe, and bits of a number and its share of the scales. Both blocks have 163840
weights in 1152 channels each."""
CALIBRATED = ("NVFP4", "FP8")


@pytest.fixture(scope="session")
def wide(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random Llama whose widths are multiples of 128."""
    folder = tmp_path_factory.mktemp("wide") / "llama"
    config = LlamaConfig.from_pretrained(tiny_model)
    fields = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 2}
    config.update(fields | {"num_key_value_heads": 2, "head_dim": 64})
    torch.manual_seed(0)
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def made(wide: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return one folder of each preset, as llm-compressor writes it."""
    engine.import_quietly()
    from llmcompressor.modifiers.quantization import QuantizationModifier

    root, folders = tmp_path_factory.mktemp("presets"), {}
    for name in PRESETS:
        model = LlamaForCausalLM.from_pretrained(wide, dtype=torch.bfloat16)
        cache = {"kv_cache_scheme": CACHE} if name == "FP8" else {}
        modifier = QuantizationModifier(
            targets=["Linear"], ignore=["lm_head"], scheme=name, **cache
        )
        samples = [torch.arange(3, 40)[None]] if name in CALIBRATED else []
        engine.oneshot(model, [modifier], samples=samples)
        folders[name] = root / name
        model.save_pretrained(folders[name])
        AutoTokenizer.from_pretrained(wide).save_pretrained(folders[name])
    return folders


def adopt(folder: Path, base: Path, out: Path, **fields: Any) -> Checkpoint:
    options = {"bits": None, "group_size": "auto", "sparsity": None, "structure": None, "seed": 0}
    recipe = stated(model=str(base), **{"method": "auto"} | options | fields)
    return existing.adopt(recipe, folder, out=out)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_its_true_name_and_bits(
    preset: str, made: dict[str, Path], wide: Path, tmp_path: Path
) -> None:
    record = adopt(made[preset], wide, tmp_path / "out")
    slug, bits = PRESETS[preset]
    assert record.recipe.slug == slug
    assert record.effective_bits == pytest.approx(bits, abs=0.01)
    measure.check(record, tmp_path / "out")


def test_unpacked_weights_are_the_numbers_in_the_file(made: dict[str, Path]) -> None:
    from safetensors.torch import load_file

    tensors = load_file(made["NVFP4A16"] / "model.safetensors")
    name = "model.layers.0.mlp.down_proj.weight"
    packed, scales = tensors[f"{name}_packed"], tensors[f"{name}_scale"].float()
    levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    levels = torch.cat([levels, -levels])
    codes = torch.stack([packed & 15, packed >> 4], dim=-1).flatten(1).long()
    expected = levels[codes] * scales.repeat_interleave(16, 1) / tensors[f"{name}_global_scale"]
    model, _ = loading.load(made["NVFP4A16"])
    weight = model.get_parameter(name)
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight.data, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("preset", "fields", "message"),
    [
        ("FP8_DYNAMIC", {"method": "gptq", "bits": 8}, "fp8: 8-bit float weights per channel"),
        ("FP8_DYNAMIC", {"bits": 4}, "You stated bits 4, but .* says 8"),
        ("W8A8", {"method": "rtn", "bits": 8}, "w8a8: .* activations 8-bit int per token"),
        ("W4A16", {"group_size": 64}, "You stated group_size 64, but .* says 128"),
        ("W4A16", {"structure": "2:4"}, "structure 2:4 cannot be used with method auto"),
    ],
)
def test_a_false_statement_is_refused_with_what_the_files_say(
    preset: str,
    fields: dict[str, Any],
    message: str,
    made: dict[str, Path],
    wide: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=message):
        adopt(made[preset], wide, tmp_path / "out", **fields)


def test_files_that_hold_other_bits_than_stated_are_refused(
    made: dict[str, Path], wide: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "published"
    shutil.copytree(made["FP8_BLOCK"], folder)
    config = (made["W4A16"] / "config.json").read_text()
    (folder / "config.json").write_text(config)
    with pytest.raises(UserError, match=r"weights of type int, but .* is F8_E4M3"):
        adopt(folder, wide, tmp_path / "out")
    shutil.copy(wide / "model.safetensors", folder)
    with pytest.raises(UserError, match=r"states 4 bits, but its files hold 16\.0 bits"):
        adopt(folder, wide, tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "method", "bits"),
    [
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", 4),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes", 4),
        ({"quant_method": "fp8", "activation_scheme": "dynamic"}, "fp8", 8),
        ({"quant_method": "mxfp4"}, "mxfp4", 4),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, "awq", 4),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 3}}}, "hqq", 3),
    ],
)
def test_other_layouts_are_recognized(
    tmp_path: Path, settings: dict[str, Any], method: str, bits: int
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": settings}))
    found = layout.describe(tmp_path)
    assert (found.method, found.bits) == (method, bits)


@pytest.mark.parametrize("preset", ["NVFP4", "FP8"])
def test_it_is_judged(
    preset: str,
    made: dict[str, Path],
    wide: Path,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", str(store / "cache"))
    line = [str(made[preset]), "--base", str(wide), "--evaluate", "--no-fail", "--json"]
    line += ["--dimensions", "mmlu", "--limit", "2"]
    done = json.loads(CliRunner().invoke(command, line, catch_exceptions=False).stdout)
    assert registry.resolve(done["version"]).tags["recipe"] == PRESETS[preset][0]
    assert done["outcome"] in ("block", "inconclusive")
