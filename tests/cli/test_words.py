"""Words fit their numbers: one, none, equal, version 0."""

from __future__ import annotations

import pytest

from comptrust.cli import jobs
from comptrust.gate.rule import Rule
from comptrust.gate.rules.complete import Complete
from comptrust.gate.rules.min_compression import MinCompression
from comptrust.gate.rules.trusted_source import TrustedSource
from comptrust.records import Recipe
from comptrust.text_tables import counted
from tests.support.evaluations import DENSE, PRUNED, checkpoint, pair


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [(0, "prompt", "no prompts"), (1, "rule", "1 rule"), (9, "dimension", "9 dimensions")],
)
def test_counts(count: int, noun: str, words: str) -> None:
    assert counted(count, noun) == words


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Complete(), "1 dimension asked in full"),
        (TrustedSource(floors={"mmlu": 1}), "measured on 1 dimension and reaches 1 floor."),
        (MinCompression(count="nonzero"), "2.00 times the candidate's size without its zeros (on"),
    ],
)
def test_reasons_of_rules(rule: Rule, says: str) -> None:
    assert says in rule.check(pair(PRUNED, 80, size=1000)).reason


@pytest.mark.parametrize(
    ("recipe", "size", "says"),
    [
        (DENSE, 1000, "0.0 MB (dense), "),
        (PRUNED, 1000, "0.0 MB (as large as the dense model), "),
        (PRUNED, 500, "0.0 MB of 0.0 MB dense, "),
    ],
)
def test_sizes(recipe: Recipe, size: int, says: str) -> None:
    assert jobs.size(checkpoint(recipe, size=size)).startswith(says)
