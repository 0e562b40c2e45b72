"""Sensitivity of a tiny model: units, hand-computed losses, experts that no token reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptrust.compression import sensitivity
from comptrust.models.loading import load


def test_units_share_their_input_and_losses_are_relative_output_errors(tiny_model: Path) -> None:
    import torch

    model, tokenizer = load(tiny_model)
    ids = tokenizer("Water boils at one hundred degrees.", return_tensors="pt")["input_ids"]
    layer, seen = model.get_submodule("model.layers.0.mlp.down_proj"), []
    hook = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    found = sensitivity.measure(model, [ids, ids[:, :9]], bits=(3, 8), group_size=64)
    hook.remove()
    names = [unit.name for unit in found.units]
    assert names[:4] == [
        "layers.0.self_attn.q_proj+k_proj+v_proj",
        "layers.0.self_attn.o_proj",
        "layers.0.mlp.gate_proj+up_proj",
        "layers.0.mlp.down_proj",
    ]
    inputs = torch.cat([one.flatten(0, -2) for one in seen])
    weight = layer.weight.detach().float()
    error = inputs @ (sensitivity.rounded(weight, bits=3, group_size=64) - weight).T
    expected = float(error.square().sum() / (inputs @ weight.T).square().sum())
    unit = found.units[3]
    assert unit.losses[3] == pytest.approx(expected, rel=1e-3)
    assert all(one.losses[8] < one.losses[3] / 100 for one in found.units)
    assert next(iter(sensitivity.units_of(found))).losses[3] == max(
        one.losses[3] for one in found.units
    )


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
