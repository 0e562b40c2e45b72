"""The frontier by hand: steps by loss removed per byte, nested recipes, a bisection in bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from comptrust.compression.sensitivity import Sensitivity, Unit
from comptrust.records import Recipe
from comptrust.search.frontier import Frontier, between, bisect
from comptrust.search.run import as_file
from comptrust.sweep.facts import stored_bits

RECIPE = Recipe(base_model="m", method="rtn", bits=3, group_size=64)


UNITS = (
    Unit(layers=("a.q", "a.k"), weights=1000, losses={3: 0.4, 4: 0.1, 8: 0.001}),
    Unit(layers=("a.up",), weights=1000, losses={3: 0.2, 4: 0.19, 8: 0.001}),
    Unit(layers=("a.down",), weights=2000, losses={3: 0.04, 4: 0.01, 8: 0.0001}),
)
SENSITIVITY = Sensitivity(group_size=64, calibration_tokens=9, units=UNITS)


def frontier(widths: tuple[int, ...] = (3, 4, 8, 16)) -> Frontier:
    return Frontier(SENSITIVITY, widths=widths, recipe=RECIPE, dense_bytes=500.0)


def test_stored_bits_are_those_of_the_files() -> None:
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    for bits in (3, 4, 5, 6, 8):
        codes = torch.zeros(1, 576, dtype=torch.int8)
        assert stored_bits(bits, 64) == 32 * pack_to_int32(codes, bits).numel() / 576 + 16 / 64
    assert stored_bits(None, 64) == 16


def test_the_first_step_removes_most_loss_per_byte_and_skips_widths_above_the_hull() -> None:
    line = frontier()
    first = line.steps[0]
    assert (first.unit, first.bits) == (0, 4) and first.bytes == pytest.approx(125)
    assert 4 not in [step.bits for step in line.steps if step.unit == 1], "3 to 8 gains more"
    assert line.size(0) == pytest.approx(500 + 4000 * 3.25 / 8)
    assert line.at(len(line) - 1).layer_bits, "something is always compressed"
    assert frontier((3, 4)).size(3) == pytest.approx(500 + 4000 * 4.25 / 8)


def test_recipes_are_nested_and_state_their_layers() -> None:
    line = frontier()
    layers = ["a.q", "a.k", "a.up", "a.down"]
    before = [0, 0, 0, 0]
    for place in range(len(line)):
        recipe = line.at(place)
        bits = [recipe.bits_of(name) or 16 for name in layers]
        assert all(new >= old for new, old in zip(bits, before, strict=True))
        weights = sum(
            size * width for size, width in zip([500, 500, 1000, 2000], bits, strict=True)
        )
        assert line.average_bits(place) == pytest.approx(weights / 4000)
        before = bits


@pytest.mark.parametrize("edge", range(10))
def test_bisection_finds_the_smallest_that_passes(edge: int) -> None:
    line = frontier()
    tried: list[int] = []

    def judge(places: list[int]) -> list[bool]:
        tried.extend(places)
        return [place >= edge for place in places]

    found = bisect(line, judge, budget=20, close=0)
    assert found == (edge if edge < len(line) else None)
    assert len(tried) == len(set(tried)) <= 5
    tried.clear()
    assert bisect(line, judge, budget=20, close=0, at_once=3) == found
    assert len(tried) == len(set(tried)) <= 6


def test_a_recipe_file_gives_the_same_recipe(tmp_path: Path) -> None:
    from comptrust.cli.options import read_recipe
    from comptrust.compression.recipe import build

    start = build(model="m", method="gptq", bits=3, seed=2)
    line = Frontier(SENSITIVITY, widths=(3, 4, 8, 16), recipe=start, dense_bytes=0.0)
    path = tmp_path / "recipe.yaml"
    for place in range(len(line)):
        path.write_text(as_file(line.at(place)))
        options = read_recipe(str(path), {"model", "group_size", *Recipe.model_fields})
        assert build(**options) == line.at(place)  # type: ignore[arg-type]


def test_bisection_stops_at_the_budget_and_where_little_is_left_to_save() -> None:
    line = frontier()
    calls: list[int] = []

    def judge(places: list[int]) -> list[bool]:
        calls.extend(places)
        return [place >= 5 for place in places]

    assert bisect(line, lambda places: [False] * len(places), budget=2, close=0) is None
    assert bisect(line, judge, budget=2, close=0) in range(5, len(line))
    assert bisect(line, judge, budget=5, close=0, at_once=4) in range(5, len(line))
    assert len(calls) == 2 + 4
    calls.clear()
    assert bisect(line, lambda places: [not calls.extend(places)], budget=9, close=1e9)
    assert len(calls) == 1
    assert between(line, failed=3, passed=4) == []
    assert between(line, failed=-1, passed=len(line), count=99) == list(range(len(line)))
