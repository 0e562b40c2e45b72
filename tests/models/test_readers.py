"""Every layout is read whole and as the numbers that it stands for, or refused by its name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    T5Config,
)

from comptrust.compression import fitting
from comptrust.compression.recipe import build
from comptrust.errors import UserError
from comptrust.models import formats, loading, memory, precision, readers
from tests.support import layouts


def labeled(dense: Path, into: Path, settings: dict[str, Any] | None, **beside: Any) -> Path:
    folder = into / "labeled"
    shutil.copytree(dense, folder)
    config = json.loads((folder / "config.json").read_text())
    if settings is not None:
        (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    for name, fields in beside.items():
        (folder / f"{name}.json").write_text(json.dumps(fields))
    return folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "'modelopt', which transformers does"),
        ({"quant_method": "exl2", "bits": 4}, "'exl2', which transformers does not read"),
        ({"group_size": 64, "bits": 4}, "names no quant_method"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "requires bitsandbytes"),
        ({"quant_method": "aqlm"}, "requires AQLM"),
        ({"quant_method": "compressed-tensors", "format": "marlin-24"}, "format 'marlin-24' of"),
        (
            {"quant_method": "compressed-tensors", "sparsity_config": {"format": "dense"}},
            "reads no longer. Its weights are dense: remove quantization_config",
        ),
    ],
)
def test_a_layout_without_a_reader_is_refused_before_loading(
    tiny_model: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        loading.load(labeled(tiny_model, tmp_path, settings))


def test_mlx_is_named(tiny_model: Path, tmp_path: Path) -> None:
    folder = labeled(tiny_model, tmp_path, None)
    config = json.loads((folder / "config.json").read_text())
    fields = {"quantization": {"bits": 4, "group_size": 64}}
    (folder / "config.json").write_text(json.dumps(config | fields))
    with pytest.raises(UserError, match="'mlx', which transformers does not read"):
        loading.load(folder)


def test_a_layout_that_is_stated_beside_config_json_counts(
    tiny_model: Path, tmp_path: Path
) -> None:
    stated = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}
    folder = labeled(tiny_model, tmp_path, None, hf_quant_config=stated)
    with pytest.raises(UserError, match="'modelopt'"):
        loading.load(folder)
    assert precision.weights(folder).startswith("quantized (modelopt")


def test_fp8_as_published_is_a_dense_source(tiny_model: Path, tmp_path: Path) -> None:
    settings = {"quant_method": "fp8", "weight_block_size": [32, 32], "fmt": "e4m3"}
    folder = labeled(tiny_model, tmp_path, settings | {"activation_scheme": "dynamic"})
    tensors, expected = load_file(folder / "model.safetensors"), {}
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        codes = (tensors[name].float() * 1000).to(torch.float8_e4m3fn)
        rows, columns = (size // 32 for size in codes.shape)
        scales = torch.arange(1, rows * columns + 1).view(rows, columns) * 2.0**-12
        tensors |= {name: codes, f"{name}_scale_inv": scales}
        expected[name] = codes.float() * scales.repeat_interleave(32, 0).repeat_interleave(32, 1)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert memory.weights(folder, float_bytes=4) >= 4 * sum(map(torch.numel, expected.values()))
    model, _ = loading.load(folder)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    for name, weight in expected.items():
        torch.testing.assert_close(model.get_parameter(name).data, weight, rtol=2**-8, atol=0)
    model.bfloat16().save_pretrained(tmp_path / "saved")
    assert (
        precision.weights(tmp_path / "saved") == "dense (BF16, dequantized from fp8, as published)"
    )
    readers.check_source(folder)
    assert precision.weights(folder) == "quantized (fp8, activations not rounded by hf)"
    with pytest.raises(UserError, match="quantized already .gptq"):
        fitting.check(
            build(model="x", method="none"),
            labeled(tiny_model, tmp_path / "gptq", {"quant_method": "gptq", "bits": 4}),
        )


def test_a_model_that_takes_images_answers_text(tiny_model: Path, tmp_path: Path) -> None:
    text = LlamaConfig.from_pretrained(tiny_model)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        image_size=28, patch_size=14, projection_dim=32,
    )  # fmt: skip
    torch.manual_seed(0)
    whole = LlavaForConditionalGeneration(
        LlavaConfig(text_config=text, vision_config=vision, image_token_index=5)
    )
    whole.save_pretrained(tmp_path / "llava")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "llava")
    model, _ = loading.load(tmp_path / "llava")
    ids = torch.arange(20)[None] + 40
    with torch.no_grad():
        assert torch.equal(model(ids).logits, whole.eval().float()(ids).logits)
    with pytest.raises(UserError, match="no model of type 't5' that continues a text"):
        readers.text_class(T5Config())


def gptq(
    into: Path, *, points: np.ndarray, stored: np.ndarray, version: str, symmetric: bool = True
) -> tuple[Path, np.ndarray]:
    """Write a layer of 256 x 128 in one group, and return it with the weights it stands for."""
    values = np.clip(np.random.default_rng(0).normal(8, 2.5, (256, 128)).round(), 0, 15)
    settings = {
        "quant_method": "gptq", "bits": 4, "group_size": 256, "checkpoint_format": version,
        "sym": symmetric,
    }  # fmt: skip
    (into / "config.json").write_text(json.dumps({"quantization_config": settings}))
    tensors = {
        "qweight": layouts.words(values.astype(int).T, 4).T,
        "qzeros": layouts.words(stored, 4),
        "scales": np.full((1, 128), 0.25, np.float16),
    }
    save_file(
        {f"a.up_proj.{name}": torch.from_numpy(value.copy()) for name, value in tensors.items()},
        into / "model.safetensors",
    )
    return into, ((values - points) * 0.25).T


@pytest.mark.parametrize("stored", [7, 8])
@pytest.mark.parametrize("version", ["gptq", "gptq_v2"])
def test_symmetric_zero_points_show_the_version_of_gptq(
    tmp_path: Path, version: str, stored: int
) -> None:
    middle = np.full((1, 128), 8)
    folder, weight = gptq(
        tmp_path, points=middle, stored=np.full((1, 128), stored), version=version
    )
    found = formats.dense(folder, dtype=torch.float32)["a.up_proj.weight"]
    np.testing.assert_array_equal(found.numpy(), weight)


def test_other_zero_points_under_the_wrong_version_are_refused(tmp_path: Path) -> None:
    points = np.random.default_rng(1).integers(7, 10, (1, 128))
    made = {"points": points, "stored": points, "symmetric": False}
    folder, weight = gptq(tmp_path, version="gptq_v2", **made)
    found = formats.dense(folder, dtype=torch.float32)["a.up_proj.weight"]
    np.testing.assert_array_equal(found.numpy(), weight)
    folder, _ = gptq(tmp_path, version="gptq", **made)
    with pytest.raises(UserError, match="one step off, as if config.json"):
        readers.check(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "intel/auto-round"},
        {"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq"},
    ],
)
def test_auto_round_in_the_gptq_format(tmp_path: Path, settings: dict[str, Any]) -> None:
    points = np.full((1, 128), 8)
    folder, weight = gptq(tmp_path, points=points, stored=points - 1, version="gptq")
    fields = {"quantization_config": settings | {"bits": 4, "sym": True, "group_size": 256}}
    (folder / "config.json").write_text(json.dumps(fields))
    assert formats.kind(folder) == "gptq"
    found = formats.dense(folder, dtype=torch.float32)["a.up_proj.weight"]
    np.testing.assert_array_equal(found.numpy(), weight)
    fields["quantization_config"]["extra_config"] = {"a.up_proj": {"bits": 8}}
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match="the same in all layers"):
        formats.kind(folder)
