"""Floats are saved in the dtype of the source; a change is stated in the recipe."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from comptrust.compression import oneshot
from comptrust.compression.recipe import build
from comptrust.errors import UserError
from comptrust.models import headers, probe
from comptrust.models.loading import load
from comptrust.models.sources import resolve
from comptrust.records import Recipe


def in_dtype(model: Path, folder: Path, *dtypes: str) -> Path:
    """Copy a model, with random digits below bfloat16's, in the first dtype; norms in the last."""
    import torch

    shutil.copytree(model, folder)
    path = folder / "model.safetensors"
    torch.manual_seed(1)
    tensors = {}
    for name, value in load_file(path).items():
        noisy = value.float() * (1 + torch.rand(value.shape) / 500)
        tensors[name] = noisy.to(getattr(torch, dtypes[-1 if "norm" in name else 0]))
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def dtypes_of(folder: Path) -> dict[str, str]:
    return {tensor.name: tensor.dtype for tensor in headers.tensors(folder)}


@pytest.mark.parametrize("dtypes", [("float16",), ("float32",), ("bfloat16", "float32")])
def test_a_dense_copy_predicts_exactly_what_the_source_does(
    tiny_model: Path, tmp_path: Path, dtypes: tuple[str, ...]
) -> None:
    source = in_dtype(tiny_model, tmp_path / "source", *dtypes)
    oneshot.compress(build(model=str(source), method="none"), out=tmp_path / "copy")
    assert dtypes_of(tmp_path / "copy") == dtypes_of(source)
    one, other = (probe.predict(*load(folder)) for folder in (source, tmp_path / "copy"))
    assert probe.metrics(other, one)["probe/kl"] == 0.0
    assert one.logits.equal(other.logits)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"method": "magnitude", "structure": "2:4"}, "F32"),
        ({"method": "rtn", "bits": 8}, "F32"),
        ({"method": "rtn", "bits": 8, "save_dtype": "bfloat16"}, "BF16"),
        ({"method": "gptq", "bits": 4, "format": "gptq", "calibration_samples": 2}, "F16"),
    ],
)
def test_what_stays_dense_keeps_the_dtype_unless_the_recipe_says_another(
    tiny_model: Path, tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    source = in_dtype(tiny_model, tmp_path / "source", "float32")
    record = oneshot.compress(build(model=str(source), **options), out=tmp_path / "out")
    floats = set(dtypes_of(tmp_path / "out").values()) & headers.FLOATS.keys()
    assert floats == {expected}
    asked = options.get("save_dtype")
    assert record.recipe.save_dtype == asked
    assert ("in-bfloat16" in record.recipe.slug) == (asked is not None)
    assert resolve(str(tmp_path / "out"))


def test_a_recipe_that_keeps_the_dtype_has_the_digest_of_older_ones() -> None:
    recipe = build(model="m", method="rtn", bits=4)
    assert "save_dtype" not in recipe.model_dump(mode="json")
    assert Recipe(**recipe.model_dump()) == recipe


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "none", "save_dtype": "float16"}, "method none, which changes nothing"),
        ({"method": "rtn", "bits": 4, "save_dtype": "flot16"}, "float16"),
        (
            {"method": "gptq", "bits": 4, "format": "gptq", "save_dtype": "bfloat16"},
            "cannot be used with format gptq",
        ),
    ],
)
def test_a_dtype_that_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(model="m", **options)
