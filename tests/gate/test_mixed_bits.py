"""Rules about bits judge a mixed checkpoint by the bits that its files have."""

from __future__ import annotations

import dataclasses

import pytest

from comptrust.gate.evidence import Evidence
from comptrust.gate.rule import code_bits, heavily_compressed
from comptrust.gate.rules.compressed_as_stated import CompressedAsStated
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.records import LayerBits, Part, Recipe
from tests.support.evaluations import evaluation

DENSE = Recipe(base_model="m", method="none")


def evidence(
    weights_at: dict[int, int], *, bits: int = 4, parts: tuple[Part, ...] = ()
) -> Evidence:
    rules = (
        LayerBits(layers=("*.0.*",), bits=3),
        LayerBits(layers=("*.1.*",), bits=8),
        LayerBits(layers=("*.2.*",), bits="dense"),
    )
    recipe = Recipe(base_model="m", method="rtn", bits=bits, layer_bits=rules)
    candidate = evaluation(recipe, {"mmlu": 80.0})
    assert candidate.checkpoint
    fields = {"weights_at": weights_at, **({"parts": parts} if parts else {})}
    record = candidate.checkpoint.model_copy(update=fields)
    return Evidence(
        dataclasses.replace(candidate, checkpoint=record), evaluation(DENSE, {"mmlu": 80.0})
    )


@pytest.mark.parametrize(
    ("weights_at", "bits", "few", "many"),
    [
        ({3: 1, 4: 99}, (3, 4), True, False),
        ({4: 1, 8: 99}, (4, 8), False, True),
        ({4: 50, 16: 50}, (4, 4), False, False),
        ({4: 50, 8: 50}, (4, 6), False, False),
        ({}, (3, 8), True, True),
    ],
)
def test_few_bits_count_in_any_layer_and_many_only_on_average(
    weights_at: dict[int, int], bits: tuple[int, int], few: bool, many: bool
) -> None:
    given = evidence(weights_at)
    record = given.candidate.checkpoint
    assert given.recipe and code_bits(given.recipe, record) == bits
    assert heavily_compressed(given.recipe, record, bits_at_most=3, sparsity_at_least=0.5) is few
    for rule, applies in ((MaxDrop(bits_at_most=3), few), (MaxDrop(bits_at_least=8), many)):
        found = rule.check(given)
        assert ("applies" not in found.evidence) is applies


def test_the_share_of_weights_with_few_bits_is_a_fact_of_the_finding() -> None:
    found = MaxDrop(bits_at_most=3, evidence="observed").check(evidence({3: 25, 4: 75}))
    assert found.evidence["share_of_weights"] == 0.25


def test_layers_that_the_recipe_leaves_dense_are_as_stated() -> None:
    part = Part(kind="mlp", linear=True, weights=100, compressed=60, bits=8.0, sparsity=None)
    found = CompressedAsStated().check(evidence({4: 60, 16: 40}, parts=(part,)))
    assert found.outcome == "pass" and "of which the recipe means 40" in found.reason
    lost = CompressedAsStated().check(evidence({4: 60}, parts=(part,)))
    assert lost.outcome == "inconclusive"
