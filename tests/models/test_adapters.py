"""BASE+ADAPTER: peft merges the adapter, and what does not fit is refused before work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from comptrust.compression import oneshot
from comptrust.compression.recipe import build
from comptrust.errors import UserError
from comptrust.models import precision, sources
from tests.support import families

IDS = torch.arange(30)[None] + 40


def adapter(base: Path, out: Path, **fields: Any) -> Path:
    """Save an adapter with random weights, which changes what the base computes."""
    peft = pytest.importorskip("peft", reason="the extra adapters is not installed")
    settings: dict[str, Any] = {"r": 4, "target_modules": ["q_proj", "up_proj"]} | fields
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapted = peft.get_peft_model(model, peft.LoraConfig(**settings))
    for name, value in adapted.named_parameters():
        if "lora_" in name and "magnitude" not in name:
            value.data.normal_(std=0.2)
    adapted.save_pretrained(out)
    return out


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_the_merged_model_computes_what_the_adapted_one_does(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dora: bool
) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    low = adapter(tiny_model, tmp_path / "low", use_dora=dora)
    name = f"{tiny_model}+{low}"
    source = sources.resolve(name)
    from peft import PeftModel

    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        dense = plain(IDS).logits
        expected = PeftModel.from_pretrained(plain, str(low))(IDS).logits
        merged = AutoModelForCausalLM.from_pretrained(source.path, dtype=torch.float32)(IDS).logits
    assert not torch.allclose(dense, expected, atol=0.1)
    assert torch.allclose(merged, expected, atol=0.05), "bfloat16, as the base"
    assert precision.stored(source.path) == precision.stored(tiny_model)
    revisions = {source.revision, sources.resolve(str(tiny_model)).revision}
    tensors = load_file(low / "adapter_model.safetensors")
    save_file(
        {key: value * 1.5 for key, value in tensors.items()}, low / "adapter_model.safetensors"
    )
    revisions.add(sources.resolve(name).revision)
    assert len(revisions) == 3, "the revision covers both parts"
    recipe = build(model=name, method="magnitude", structure="2:4")
    assert oneshot.compress(recipe, out=tmp_path / "out").recipe.base_model == name


def stated(folder: Path, **fields: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda low: (low / "adapter_model.safetensors").unlink(), "has no adapter_model.safe"),
        (lambda low: (low / "adapter_config.json").unlink(), "has no adapter_config.json"),
        (lambda low: (low / "adapter_config.json").write_text("{"), "peft cannot read adapter_c"),
        (lambda low: stated(low, r=8), r"has shape \(4, 64\), but .*llama needs \(8, 64\)"),
        (lambda low: stated(low, target_modules=["c_attn"]), "Target modules .*c_attn.* not found"),
        (lambda low: stated(low, target_modules=["q_proj"]), "it has .*which the base lacks"),
        (lambda low: stated(low, peft_type="PROMPT_TUNING"), "adds to the prompt"),
        (lambda low: stated(low, peft_type="MAGIC"), "peft cannot read adapter_config.json"),
        (lambda low: stated(low, init_lora_weights="pissa"), "changes the base as well"),
    ],
)
def test_a_bad_pair_is_refused_before_the_base_is_loaded(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any, message: str
) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    low = adapter(tiny_model, tmp_path / "low")
    damage(low)
    with pytest.raises(UserError, match=message):
        sources.resolve(f"{tiny_model}+{low}")
    assert not (tmp_path / "cache" / "models").exists()


def test_the_adapter_of_another_base_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    other = families.build("llama", tmp_path / "other")
    low = adapter(other, tmp_path / "low")
    with pytest.raises(UserError, match=r"shape .*, but .*llama needs"):
        sources.resolve(f"{tiny_model}+{low}")


def test_without_peft_the_extra_is_named(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    low = tmp_path / "low"
    low.mkdir()
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (low / file).write_text("{}")
    with pytest.raises(UserError, match=r"needs the package peft. Install comptrust\[adapters\]"):
        sources.resolve(f"{tiny_model}+{low}")
    with pytest.raises(UserError, match="No adapter './nowhere'"):
        sources.resolve(f"{tiny_model}+./nowhere")


def test_a_folder_with_a_plus_in_its_name_is_a_folder(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "a+b")
    assert sources.resolve(str(folder)).path == folder
