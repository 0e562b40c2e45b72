"""The gate's distributions against SciPy's."""

from __future__ import annotations

import pytest
from scipy import special

from comptrust.gate import distributions


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 12, 99, 1000, 20_001])
@pytest.mark.parametrize("p", [0.5, 0.6, 0.95, 0.9999])
def test_student_quantile(p: float, degrees: int) -> None:
    assert distributions.student_quantile(p, degrees) == pytest.approx(
        special.stdtrit(degrees, p), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize(("p", "degrees"), [(0.95, 0), (0.4, 5), (1.0, 5)])
def test_student_quantile_outside_its_range(p: float, degrees: int) -> None:
    with pytest.raises(ValueError, match="student_quantile needs"):
        distributions.student_quantile(p, degrees)


@pytest.mark.parametrize("z", [-30.0, -8.0, -1.0, 0.0, 2.5, 9.0])
def test_normal_below_keeps_its_digits_in_the_tail(z: float) -> None:
    assert distributions.normal_below(z) == pytest.approx(special.ndtr(z), rel=1e-10)


@pytest.mark.parametrize(
    ("hits", "throws"), [(0, 0), (0, 1), (1, 1), (0, 6), (2, 5), (40, 100), (9_950, 20_000)]
)
def test_heads_at_most(hits: int, throws: int) -> None:
    assert distributions.heads_at_most(hits, throws) == pytest.approx(
        special.bdtr(hits, throws, 0.5), rel=1e-9
    )
