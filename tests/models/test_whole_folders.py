"""A folder that is not a whole model is refused before anything is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from comptrust.errors import UserError
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
        ({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}, "lacks model-2"),
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
