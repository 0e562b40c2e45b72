"""The probe: no divergence of a model from itself, and both numbers match their definition."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.models import loading
from comptrust.models.probe import TEXT, metrics, predict


def probe(path: Path, dense: Path | None) -> dict[str, float]:
    predictions = [predict(*loading.load(folder)) if folder else None for folder in (path, dense)]
    assert predictions[0]
    return metrics(predictions[0], predictions[1])


@pytest.fixture(scope="module")
def changed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, much surer of its predictions."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("changed") / "llama"
    shutil.copytree(tiny_model, folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.norm.weight.mul_(6)
    model.save_pretrained(folder)
    return folder


def test_the_distance_of_a_model_from_itself_is_zero(tiny_model: Path) -> None:
    values, alone = probe(tiny_model, tiny_model), probe(tiny_model, None)
    assert values == {"probe/kl": 0, "probe/perplexity": alone["probe/perplexity"]}
    assert alone.keys() == {"probe/perplexity"}


def test_perplexity_is_the_models_own_loss(tiny_model: Path) -> None:
    model, tokenizer = loading.load(tiny_model)
    ids = tokenizer(TEXT, return_tensors="pt", add_special_tokens=False)["input_ids"]
    assert probe(tiny_model, None)["probe/perplexity"] == pytest.approx(
        math.exp(model(ids, labels=ids).loss.item()), rel=1e-4
    )


def test_divergence_is_positive_and_has_a_direction(tiny_model: Path, changed: Path) -> None:
    import torch

    def chances(path: Path) -> torch.Tensor:
        model, tokenizer = loading.load(path)
        return (
            model(
                **tokenizer(
                    TEXT, return_tensors="pt", add_special_tokens=False, return_token_type_ids=False
                )
            )
            .logits[0, :-1]
            .softmax(-1)
        )

    dense, compressed = chances(tiny_model), chances(changed)
    expected = (dense * (dense / compressed).log()).sum(dim=-1).mean().item()
    assert probe(changed, tiny_model)["probe/kl"] == pytest.approx(expected, rel=1e-3)
    assert probe(changed, tiny_model)["probe/kl"] > 0
    assert probe(tiny_model, changed)["probe/kl"] != pytest.approx(expected, rel=1e-3)


def test_another_vocabulary_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    shutil.copytree(tiny_model, tmp_path / "larger")
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.resize_token_embeddings(300)
    model.save_pretrained(tmp_path / "larger")
    with pytest.raises(UserError, match="do not share one vocabulary"):
        probe(tmp_path / "larger", tiny_model)
