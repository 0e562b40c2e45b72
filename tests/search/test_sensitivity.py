"""Sensitivity of a tiny model: units, losses by hand and against the real divergence."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptrust.compression import sensitivity
from comptrust.models.loading import load


def test_losses_are_half_the_errors_times_the_gradients(tiny_model: Path) -> None:
    """By hand for one layer and one text."""
    import torch

    model, tokenizer = load(tiny_model)
    model = model.float()
    ids = tokenizer("Water boils at one hundred degrees.", return_tensors="pt")["input_ids"]
    found = sensitivity.measure(model, [ids], bits=(3, 8), group_size=64)
    names = [unit.name for unit in found.units]
    assert names[:4] == [
        "layers.0.self_attn.q_proj+k_proj+v_proj",
        "layers.0.self_attn.o_proj",
        "layers.0.mlp.gate_proj+up_proj",
        "layers.0.mlp.down_proj",
    ]
    layer, seen = model.get_submodule("model.layers.0.mlp.down_proj"), {}
    layer.weight.requires_grad_(True)

    def keep(_: object, args: tuple[torch.Tensor], output: torch.Tensor) -> None:
        output.retain_grad()
        seen.update(inputs=args[0].detach(), output=output)

    hook = layer.register_forward_hook(keep)
    logits = model(ids).logits[0]
    hook.remove()
    chance = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(logits.detach().softmax(-1), 1, generator=chance)
    logits.log_softmax(-1).gather(1, drawn).sum().backward()
    weight = layer.weight.detach()
    error = seen["inputs"][0] @ (sensitivity.rounded(weight, bits=3, group_size=64) - weight).T
    gradient = seen["output"].grad[0]
    expected = (error.square().mean(dim=0) * gradient.square().mean(dim=0)).sum() / 2
    assert found.units[3].losses[3] == pytest.approx(float(expected), rel=1e-3)
    assert all(one.losses[8] < one.losses[3] / 100 for one in found.units)
    assert next(iter(sensitivity.units_of(found))).losses[3] == max(
        one.losses[3] for one in found.units
    )


def test_losses_foretell_how_far_the_distribution_moves(tiny_model: Path) -> None:
    """For small errors the sum of the losses is about the divergence itself."""
    import torch

    model, tokenizer = load(tiny_model)
    model = model.float()
    text = "The river runs past the old mill. " * 12
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    found = sensitivity.measure(model, [ids], bits=(6,), group_size=64)
    with torch.no_grad():
        before = model(ids).logits[0].log_softmax(-1)
        for unit in found.units:
            for name in unit.layers:
                weight = model.get_submodule(name).weight
                weight.copy_(sensitivity.rounded(weight, bits=6, group_size=64))
        after = model(ids).logits[0].log_softmax(-1)
    divergence = float((before.exp() * (before - after)).sum(-1).mean())
    foretold = sum(unit.losses[6] for unit in found.units)
    assert divergence / 2 < foretold < 2 * divergence


def test_rounding_is_that_of_the_method(tiny_model: Path, tmp_path: Path) -> None:
    from comptrust.compression.oneshot import compress
    from comptrust.compression.recipe import build

    compress(build(model=str(tiny_model), method="rtn", bits=4), out=tmp_path / "out")
    name = "model.layers.1.self_attn.o_proj"
    dense, packed = (load(path)[0].get_submodule(name) for path in (tiny_model, tmp_path / "out"))
    ours = sensitivity.rounded(dense.weight.detach().float(), bits=4, group_size=64)
    difference = (ours - packed.weight.float()).abs()
    step = ours.abs().max() / 7.5
    assert difference.mean() < 0.01 * step


def test_the_cache_returns_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path))
    unit = sensitivity.Unit(layers=("a",), weights=1, losses={3: 0.1})
    found = sensitivity.Sensitivity(group_size=64, calibration_tokens=1, units=(unit,))
    assert sensitivity.cached("k", lambda: found) == found
    assert sensitivity.cached("k", lambda: pytest.fail("measured twice")) == found


def test_experts_that_no_token_reached_count_as_the_most_sensitive(tmp_path: Path) -> None:
    from tests.support import families

    model, tokenizer = load(families.build("qwen3_moe", tmp_path / "moe"))
    ids = tokenizer("The river runs past the old mill.", return_tensors="pt")["input_ids"]
    found = sensitivity.measure(model, [ids[:, :1]], bits=(4, 8), group_size=32)
    losses = [unit.losses[4] for unit in found.units]
    assert min(losses) > 0 and any("experts" in unit.name for unit in found.units)
