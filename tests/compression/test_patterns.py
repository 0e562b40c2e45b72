"""Masks and patterns match cases worked out by hand."""

from __future__ import annotations

import pytest
import torch

from comptrust.compression.base import Pattern
from comptrust.compression.methods.magnitude import Magnitude


@pytest.mark.parametrize(
    ("structure", "sparsity", "weight", "kept"),
    [
        ("2:4", 0.5, [[1.0, -3.0, 2.0, 0.5]], [[0, 1, 1, 0]]),
        ("2:4", 0.5, [[4.0, 3.0, 2.0, 1.0, 0.1, 0.2, 0.3, 0.4]], [[1, 1, 0, 0, 0, 0, 1, 1]]),
        ("1:2", 0.5, [[1.0, -2.0], [0.0, 0.0]], [[0, 1], [1, 0]]),
        ("4:8", 0.5, [[8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0]], [[1, 0, 1, 0, 1, 0, 1, 0]]),
        ("unstructured", 0.5, [[1.0, -4.0], [3.0, 2.0]], [[0, 1], [1, 0]]),
        ("unstructured", 0.25, [[1.0, 1.0], [1.0, 1.0]], [[1, 1], [1, 0]]),
        ("unstructured", 0.75, [[0.1, 0.2, 0.3, 0.4]], [[0, 0, 0, 1]]),
    ],
)
def test_magnitude_mask(
    structure: str, sparsity: float, weight: list[list[float]], kept: list[list[int]]
) -> None:
    mask = Magnitude(structure=structure, sparsity=sparsity).mask(torch.tensor(weight))
    assert mask.tolist() == [[bool(value) for value in row] for row in kept]


@pytest.mark.parametrize(
    ("structure", "row", "expected"),
    [
        ("2:4", [1.0, 0.0, 2.0, 0.0], True),
        ("2:4", [1.0, 0.0, 0.0, 0.0], True),
        ("2:4", [1.0, 1.0, 1.0, 0.0], False),
        ("2:4", [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0], True),
        ("1:2", [0.0, 0.0, 1.0, 1.0], False),
        ("2:4", [0.0, 0.0, 1.0], False),
    ],
)
def test_fits_its_structure(structure: str, row: list[float], expected: bool) -> None:
    pattern = Pattern.parse(structure)
    assert pattern and pattern.fits(torch.tensor([row])) is expected
