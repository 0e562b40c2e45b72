"""GPTQ and AWQ files are read as the numbers that they stand for; what is laid out otherwise is
refused by name.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from comptrust.errors import UserError
from comptrust.models import formats, loading, memory
from tests.support import layouts

LAYER = "model.layers.0.mlp.up_proj"
INPUTS, OUTPUTS, GROUPS = 64, 32, 2


def folder_of(tensors: dict[str, np.ndarray], said: dict[str, Any], into: Path) -> Path:
    save_file(
        {f"{LAYER}.{name}": torch.from_numpy(value.copy()) for name, value in tensors.items()},
        into / "model.safetensors",
    )
    (into / "config.json").write_text(json.dumps({"quantization_config": said}))
    return into


def drawn(bits: int) -> dict[str, np.ndarray]:
    """Return numbers, zero points, scales and the group of each input, in no order (as act-order
    leaves them).
    """
    draw = np.random.default_rng(bits)
    return {
        "values": draw.integers(0, 1 << bits, (INPUTS, OUTPUTS)),
        "points": draw.integers(0, 1 << bits, (GROUPS, OUTPUTS)),
        "scales": draw.uniform(0.01, 0.02, (GROUPS, OUTPUTS)).astype(np.float16),
        "g_idx": draw.permutation(np.repeat(np.arange(GROUPS), INPUTS // GROUPS)).astype(np.int32),
    }


@pytest.mark.parametrize("version", ["gptq", "gptq_v2", None])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq(tmp_path: Path, bits: int, version: str | None) -> None:
    one = drawn(bits)
    stored = one["points"] if version == "gptq_v2" else (one["points"] - 1) % (1 << bits)
    tensors = {
        "qweight": layouts.words(one["values"].T, bits).T,
        "qzeros": layouts.words(stored, bits),
        "scales": one["scales"],
    }
    said = {"quant_method": "gptq", "bits": bits, "group_size": 32} | (
        {"checkpoint_format": version} if version else {}
    )
    folder = folder_of(
        tensors | {"g_idx": one["g_idx"], "bias": np.zeros(OUTPUTS, np.float16)}, said, tmp_path
    )
    found = formats.dense(folder, dtype=torch.float32)
    expected = (one["values"] - one["points"][one["g_idx"]]) * one["scales"].astype(np.float32)[
        one["g_idx"]
    ]
    assert found.keys() == {f"{LAYER}.weight"}, "a bias of zeros is AutoGPTQ's own"
    np.testing.assert_allclose(found[f"{LAYER}.weight"].numpy(), expected.T, rtol=1e-6)
    assert memory.weights(folder, float_bytes=4) >= expected.size * 4
    if version != "gptq_v2":
        np.testing.assert_allclose(
            layouts.gptq_weight(**tensors, g_idx=one["g_idx"], bits=bits), expected.T, rtol=1e-6
        )


def test_gptq_without_an_order_has_its_groups_in_place_and_keeps_a_bias(tmp_path: Path) -> None:
    one = drawn(4)
    tensors = {
        "qweight": layouts.words(one["values"].T, 4).T,
        "qzeros": layouts.words(one["points"], 4),
        "scales": one["scales"],
    }
    bias = np.ones(OUTPUTS, np.float16)
    folder = folder_of(
        tensors | {"bias": bias},
        {"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2"},
        tmp_path,
    )
    found = formats.dense(folder, dtype=torch.float32)
    group = np.arange(INPUTS) // (INPUTS // GROUPS)
    expected = (one["values"] - one["points"][group]) * one["scales"].astype(np.float32)[group]
    np.testing.assert_allclose(found[f"{LAYER}.weight"].numpy(), expected.T, rtol=1e-6)
    assert (found[f"{LAYER}.bias"].numpy() == bias).all()


def test_awq(tmp_path: Path) -> None:
    one = drawn(4)
    tensors = {
        "qweight": layouts.awq_words(one["values"]),
        "qzeros": layouts.awq_words(one["points"]),
        "scales": one["scales"],
    }
    folder = folder_of(tensors, {"quant_method": "awq", "bits": 4, "version": "gemm"}, tmp_path)
    found = formats.dense(folder, dtype=torch.float32)[f"{LAYER}.weight"].numpy()
    group = np.arange(INPUTS) // (INPUTS // GROUPS)
    expected = (one["values"] - one["points"][group]) * one["scales"].astype(np.float32)[group]
    np.testing.assert_allclose(found, expected.T, rtol=1e-6)
    np.testing.assert_allclose(layouts.awq_weight(**tensors), expected.T, rtol=1e-6)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"quant_method": "gptq", "bits": 5}, "bits 5"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "layout marlin"),
        (
            {"quant_method": "gptq", "bits": 4, "is_marlin_format": True},
            "variant of the GPTQ format",
        ),
        (
            {"quant_method": "gptq", "bits": 4, "dynamic": {"-:.*down.*": {}}},
            "the same in all layers",
        ),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "layout gemv"),
        ({"quant_method": "awq", "bits": 8}, "bits 8"),
    ],
)
def test_a_variant_is_refused(tmp_path: Path, said: dict[str, Any], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": said}))
    with pytest.raises(UserError, match=rf"{message}.*backend openai"):
        formats.kind(tmp_path)


@pytest.mark.parametrize(
    "said",
    [
        None,
        {"quant_method": "compressed-tensors"},
        {"quant_method": "bitsandbytes"},
    ],
)
def test_other_formats_are_left_to_transformers(tmp_path: Path, said: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": said}))
    assert formats.kind(tmp_path) is None


def test_a_damaged_layer_is_named(tmp_path: Path) -> None:
    one = drawn(4)
    whole = {
        "qweight": layouts.words(one["values"].T, 4).T,
        "qzeros": layouts.words(one["points"], 4),
        "scales": one["scales"],
    }
    for name, value in (
        ("scales", None),
        ("qzeros", whole["qzeros"][:, :1]),
        ("g_idx", np.full(INPUTS, 9, np.int32)),
    ):
        tensors = {
            key: array for key, array in (whole | {name: value}).items() if array is not None
        }
        with pytest.raises(UserError, match=f"Layer {LAYER} of .* is not a valid GPTQ layer"):
            formats.dense(
                folder_of(tensors, {"quant_method": "gptq", "bits": 4}, tmp_path),
                dtype=torch.float32,
            )


def test_a_config_that_the_weights_do_not_bear_out(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    shutil.copytree(tiny_model, folder)
    settings = json.loads((folder / "config.json").read_text()) | {
        "quantization_config": {"quant_method": "gptq", "bits": 4}
    }
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="says that it is in the GPTQ format, but no layer is"):
        loading.load(folder)
