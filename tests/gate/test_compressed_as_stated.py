"""The rule compressed_as_stated: what the recipe says must be true of the weights."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from comptrust.gate.rules.compressed_as_stated import CompressedAsStated
from comptrust.records import Part
from tests.support.evaluations import DENSE, EIGHT, pair


def part(kind: str, *, weights: int, compressed: int) -> Part:
    linear = kind in ("attention", "experts")
    return Part(
        kind=kind, linear=linear, weights=weights, compressed=compressed, bits=8, sparsity=None
    )


ATTENTION = part("attention", weights=100, compressed=100)
HEAD = part("head", weights=500, compressed=0)


@pytest.mark.parametrize(
    ("changes", "outcome", "message"),
    [
        ({"parts": (ATTENTION, HEAD)}, "pass", "0.0% of 100 weights"),
        (
            {"parts": (ATTENTION, part("experts", weights=900, compressed=0), HEAD)},
            "inconclusive",
            "90.0% of 1,000 weights .*left dense: experts 900",
        ),
        (
            {"parts": (ATTENTION,), "fell_back": {"model.layers.0.mlp": 2}},
            "inconclusive",
            "by a simpler method: 2",
        ),
        ({"parts": (ATTENTION,), "fell_back": {"model.layers.0.mlp": 1}}, "pass", "1.0%"),
        ({"parts": ()}, "inconclusive", "does not say which weights"),
    ],
)
def test_share_that_is_not_as_stated(changes: Any, outcome: str, message: str) -> None:
    evidence = pair(EIGHT, 80)
    assert evidence.candidate.checkpoint
    checkpoint = evidence.candidate.checkpoint.model_copy(update=changes)
    candidate = dataclasses.replace(evidence.candidate, checkpoint=checkpoint)
    finding = CompressedAsStated().check(dataclasses.replace(evidence, candidate=candidate))
    assert finding.outcome == outcome
    assert re.search(message, finding.reason)


def test_the_dense_model_is_exempt_and_a_missing_record_is_not() -> None:
    assert CompressedAsStated().check(pair(DENSE, 80)).outcome == "pass"
    assert CompressedAsStated().check(pair(None, 80)).outcome == "inconclusive"
