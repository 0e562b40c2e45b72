"""Published layouts compute what an independent reading of their files says, or are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from comptrust.compression import existing
from comptrust.compression.recipe import stated
from comptrust.errors import UserError
from comptrust.models import loading, sources
from tests.support import published


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


def test_a_reason_names_the_folder_that_was_given(tmp_path: Path) -> None:
    published.save("AWQ, GEMV under the name gemm", tmp_path)
    fields = dict.fromkeys(("bits", "sparsity", "structure"))
    recipe = stated(
        model=str(tmp_path / "dense"), method="auto", group_size="auto", seed=0, **fields
    )
    with pytest.raises(UserError) as error:
        existing.adopt(recipe, tmp_path / "model", out=tmp_path / "out")
    assert f"down_proj of {tmp_path / 'model'} is not a valid AWQ layer" in str(error.value)
    assert not (tmp_path / "out").exists()
