"""Published layouts compute what an independent reading of their files says, or are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from comptrust.compression import existing, oneshot
from comptrust.compression.recipe import build, stated
from comptrust.errors import UserError
from comptrust.models import loading, sources
from comptrust.records import Recipe
from tests.support import families, published


@pytest.mark.parametrize(
    "name",
    ["GPTQ, desc_act", "GPTQ of Qwen3-MoE", "AWQ, skipped layers", "FP8 of DeepSeek"]
    + ["MXFP4 of gpt-oss", "dense, with consolidated.safetensors"],
)
def test_logits_are_those_of_the_numbers_in_the_files(name: str, tmp_path: Path) -> None:
    published.save(name, tmp_path)
    model, _ = loading.load(sources.resolve(str(tmp_path / "model")).path)
    with torch.no_grad():
        logits = model(published.IDS).logits
    assert torch.allclose(logits, torch.load(tmp_path / "logits.pt"), atol=1e-3)


def adopted(base: Path) -> Recipe:
    fields = dict.fromkeys(("bits", "sparsity", "structure"))
    return stated(model=str(base), method="auto", group_size="auto", seed=0, **fields)


def test_a_reason_names_the_folder_that_was_given(tmp_path: Path) -> None:
    published.save("AWQ, GEMV under the name gemm", tmp_path)
    with pytest.raises(UserError) as error:
        existing.adopt(adopted(tmp_path / "dense"), tmp_path / "model", out=tmp_path / "out")
    assert f"down_proj of {tmp_path / 'model'} is not a valid AWQ layer" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BitNet", "has no model.layers.0.mlp.down_proj.weight_scale and 13 more"),
        ("AWQ, GEMV under the name gemm", "is not a valid AWQ layer"),
        ("GPTQ, asymmetric, under the wrong version's name", "one step off"),
        ("pickled weights", "holds its weights as pickle"),
        ("marlin-24", "format 'marlin-24' of compressed-tensors, which it reads no longer"),
        ("fewer embeddings than tokens", "139 more, such as new100: tokenizer and weights"),
    ],
)
def test_what_the_names_show_is_refused_before_anything_is_copied_or_loaded(
    name: str, message: str, tmp_path: Path
) -> None:
    published.save(name, tmp_path)
    with pytest.raises(UserError, match=message):
        existing.adopt(
            adopted(tmp_path / "dense"),
            tmp_path / "model",
            out=tmp_path / "out",
            say=lambda line: pytest.fail(line),
        )


def test_scales_of_a_family_with_other_names_are_those_of_the_dtype(tmp_path: Path) -> None:
    families.build("llava", tmp_path / "llava")
    recipe = build(model=str(tmp_path / "llava"), method="rtn", bits=4)
    record = oneshot.compress(recipe, out=tmp_path / "out")
    assert (record.reload_check.max_logit_difference or 0.0) < 1e-4
    model, _ = loading.load(tmp_path / "out")
    assert {value.dtype for value in model.parameters() if value.is_floating_point()} == {
        torch.float32
    }
