"""Checkpoints in the GPTQ and AWQ formats hold the very numbers of the compressed-tensors one, read
with independent arithmetic.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file

from comptrust.cli.commands.compress import command
from comptrust.compression import checkpoint, oneshot, reload, rewrite
from comptrust.compression.base import target_layers
from comptrust.compression.recipe import build
from comptrust.errors import UserError
from comptrust.models import loading
from comptrust.records import Checkpoint
from tests.support import families, layouts


def compress(model: Path, out: Path, **options: Any) -> Checkpoint:
    return oneshot.compress(
        build(model=str(model), group_size=32, calibration_samples=2, **options), out=out
    )


@pytest.mark.parametrize(("method", "bits"), [("gptq", 4), ("gptq", 8), ("awq", 4)])
def test_the_same_numbers_in_another_layout(
    tiny_model: Path, tmp_path: Path, method: str, bits: int
) -> None:
    plain = compress(tiny_model, tmp_path / "plain", method=method, bits=bits)
    other = compress(tiny_model, tmp_path / "other", method=method, bits=bits, format=method)
    assert (
        other.recipe.slug == plain.recipe.slug.replace("-s0", f"-as-{method}-s0")
        and other.digest != plain.digest
    )
    assert (
        other.reload_check.max_logit_difference is not None
        and other.reload_check.max_logit_difference < 1e-5
    )
    assert checkpoint.verify(tmp_path / "other") == [] and other.sparsity == pytest.approx(
        plain.sparsity, abs=1e-9
    )
    model, tokenizer = loading.load(tmp_path / "plain")
    reload.logits(model, tokenizer)  # packed layers unpack
    stored = load_file(tmp_path / "other" / "model.safetensors")
    for name, layer in target_layers(model).items():
        parts = {
            key.removeprefix(f"{name}."): value
            for key, value in stored.items()
            if key.startswith(f"{name}.")
        }
        read = (
            layouts.gptq_weight(**parts, bits=bits)
            if method == "gptq"
            else layouts.awq_weight(**parts)
        )
        np.testing.assert_allclose(read, layer.weight.detach().numpy(), rtol=1e-3, atol=1e-7)
    said = json.loads((tmp_path / "other" / "config.json").read_text())
    assert (
        said["quantization_config"]["quant_method"],
        said["quantization_config"]["bits"],
        said["dtype"],
    ) == (method, bits, "float16")
    if method == "awq":
        named = said["quantization_config"]["modules_to_not_convert"]
        assert named == ["lm_head", "model.embed_tokens"]
    assert {str(value.dtype) for value in stored.values()} == {"int32", "float16"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "gptq", "bits": 4, "format": "gguf"},
            "Unknown format 'gguf'.*compressed-tensors",
        ),
        (
            {"method": "gptq", "bits": 4, "format": "awq"},
            "Format 'awq' holds only what method awq produces, not gptq",
        ),
        (
            {"method": "wanda", "format": "gptq"},
            "Format 'gptq' holds only what method gptq produces, not wanda",
        ),
        (
            {"method": "gptq", "bits": 3, "format": "gptq"},
            "Servers do not read format 'gptq' at 3 bits. Use bits 4 or 8",
        ),
        (
            {"method": "awq", "bits": 8, "format": "awq"},
            "Servers do not read format 'awq' at 8 bits. Use bits 4,",
        ),
    ],
)
def test_what_a_format_cannot_hold_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(model="m", **options)


def test_numbers_beyond_float16_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    compress(tiny_model, tmp_path / "plain", method="gptq", bits=4)
    file = tmp_path / "plain" / "model.safetensors"
    weights = load_tensors(file)
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], 1e5)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match="model.norm.weight has numbers outside float16's range"):
        rewrite.rewrite(tmp_path / "plain", tmp_path / "other", name="gptq", bits=4, group_size=32)


def test_an_awq_file_names_the_routers_that_stay_dense(tmp_path: Path) -> None:
    families.build("qwen3_moe", tmp_path / "model")
    compress(tmp_path / "model", tmp_path / "out", method="awq", bits=4, format="awq")
    said = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    routers = {f"model.layers.{layer}.mlp.gate" for layer in (0, 1)}
    assert {*said["modules_to_not_convert"]} == {"lm_head", "model.embed_tokens", *routers}


def test_a_weight_that_is_missing_is_not_made_up(tiny_model: Path, tmp_path: Path) -> None:
    compress(tiny_model, tmp_path / "out", method="gptq", bits=4, format="gptq")
    file = tmp_path / "out" / "model.safetensors"
    weights = load_tensors(file)
    del weights["model.norm.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match="has no model.norm.weight"):
        loading.load(tmp_path / "out")


def test_the_command_says_which_format(tiny_model: Path, tmp_path: Path) -> None:
    line = [
        "--model",
        str(tiny_model),
        "--method",
        "gptq",
        "--bits",
        "4",
        "--group-size",
        "32",
        "--calibration-samples",
        "2",
    ]
    done = CliRunner().invoke(
        command,
        [*line, "--format", "gptq", "--out", str(tmp_path / "out"), "--json"],
        catch_exceptions=False,
    )
    assert json.loads(done.stdout)["recipe"]["format"] == "gptq"
