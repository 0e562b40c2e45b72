"""Noise changes every weight a little and is the same for a seed; 2 bits leave four values."""

from __future__ import annotations

import pytest
import torch

from comptrust.compression import damage


def model(width: int = 64) -> torch.nn.ModuleDict:
    torch.manual_seed(0)
    return torch.nn.ModuleDict(
        {"layer": torch.nn.Linear(width, 8), "lm_head": torch.nn.Linear(width, 8)}
    )


def test_noise_is_a_thousandth_of_each_weight_and_fixed_by_its_seed() -> None:
    before, first, again, other = (model() for _ in range(4))
    damage.add_noise(first, seed=1)
    damage.add_noise(again, seed=1)
    damage.add_noise(other, seed=2)
    weight = before["layer"].weight
    relative = (first["layer"].weight / weight - 1).std().item()
    assert relative == pytest.approx(0.001, rel=0.1)
    assert torch.equal(first["layer"].weight, again["layer"].weight)
    assert not torch.equal(first["layer"].weight, other["layer"].weight)
    assert torch.equal(first["lm_head"].weight, before["lm_head"].weight)


@pytest.mark.parametrize(("width", "values"), [(64, 4), (20, 4)])
def test_two_bits_leave_four_values_in_a_group(width: int, values: int) -> None:
    rounded = model(width)
    damage.round_to_few_bits(rounded)
    size = damage.GROUP if width % damage.GROUP == 0 else width
    for group in rounded["layer"].weight.reshape(-1, size):
        assert 1 < len(group.unique()) <= values
    assert torch.equal(rounded["lm_head"].weight, model(width)["lm_head"].weight)
