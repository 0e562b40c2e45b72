"""A folder that is not a whole model, or not one that reads alike everywhere, is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from comptrust.errors import UserError
from comptrust.models import loading, memory, precision
from comptrust.models.sources import resolve


@pytest.mark.parametrize("alone", [True, False])
def test_an_adapter_is_refused_alone_and_beside_its_base(
    tiny_model: Path, tmp_path: Path, alone: bool
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "adapter_config.json").write_text("{}")
    if alone:
        (folder / "config.json").unlink()
    with pytest.raises(UserError, match="model holds an adapter .*give BASE.ADAPTER"):
        resolve(str(folder))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            {"weight_map": {"a": "model-2.safetensors"}},
            "has model.safetensors, which .* vLLM reads",
        ),
        ({"weight_map": {"a": "../model.safetensors"}}, "no file of its own folder"),
        ({"weight_map": {"a": "/model.safetensors"}}, "no file of its own folder"),
        ({"weight_map": ["model.safetensors"]}, "has no weight_map of file names"),
        ({}, "has no weight_map of file names"),
    ],
)
def test_a_missing_shard_is_named(
    tiny_model: Path, tmp_path: Path, index: dict[str, object], message: str
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    with pytest.raises(UserError, match=message):
        resolve(str(folder))
    path.write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    assert resolve(str(folder)).path == folder
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    with pytest.raises(UserError, match="lacks model.safetensors, .*1 missing in all"):
        resolve(str(folder))


def _stated(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _numbers(folder: Path, changed: dict[str, torch.Tensor]) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path) | changed, path, metadata={"format": "pt"})


@pytest.mark.parametrize("settings", [{}, [], ["gptq"], "gptq", {"bits": 4}, {"quant_method": 4}])
def test_a_layout_without_a_name_is_not_taken_for_a_dense_model(
    tiny_model: Path, tmp_path: Path, settings: object
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    _stated(folder, quantization_config=settings)
    for read in (memory.quantization, loading.load, loading.check_whole, precision.weights):
        with pytest.raises(UserError, match="names no quant_method"):
            read(folder)
    _stated(folder, quantization_config=None)
    assert memory.quantization(folder) == {}


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_narrow_numbers_that_nothing_explains_are_refused(
    tiny_model: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    weight = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    _numbers(folder, {"model.embed_tokens.weight": weight.to(dtype)})
    for read in (loading.load, loading.check_whole):
        with pytest.raises(UserError, match="embed_tokens.weight as .* nothing says what"):
            read(folder)


def test_weights_of_another_shape_are_named(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    _numbers(folder, {"model.norm.weight": torch.ones(63)})
    with pytest.raises(UserError, match=r"model.norm.weight has \(63,\), not \(64,\). They belong"):
        loading.load(folder)


def test_tied_weights_that_differ_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    same = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    _numbers(folder, {"lm_head.weight": same.clone()})
    loading.load(folder)
    _numbers(folder, {"lm_head.weight": same + 1})
    with pytest.raises(UserError, match="lm_head.weight is model.embed_tokens.weight .tied.*two"):
        loading.load(folder)
    _stated(folder, tie_word_embeddings=False)
    loading.load(folder)


def test_what_transformers_misses_is_said_in_words(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="looks for 'added_tokens' and does not find it"):
        loading.tokenizer(folder)
