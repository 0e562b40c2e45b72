"""The data of the curves: score against bits per weight, one panel per dimension."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comptrust.report.base import (
    DIMENSIONS,
    MARGIN,
    SeedGroup,
    compressed_of,
    difference,
    smaller_of,
)
from comptrust.report.markup import number, spaced


@dataclass(frozen=True)
class CurvePoint:
    """One recipe in one panel."""

    method: str
    recipe: str
    bits: float
    mean: float
    spread: float | None
    """Standard deviation over seeds."""
    gray: bool
    """Whether it is more than the margin below the dense source."""

    @property
    def description(self) -> str:
        """The point in words."""
        spread = "" if self.spread is None else f" ±{number(self.spread)}"
        return f"{self.recipe} {number(self.mean)}{spread}{' (gray)' if self.gray else ''}"


@dataclass(frozen=True)
class Panel:
    """One dimension: its points and the scores to compare them with."""

    dimension: str
    dense: float
    """Score of the dense source; dashed lines are a margin above and below it."""
    smaller: float | None
    """Score of the smaller dense model."""
    points: tuple[CurvePoint, ...]

    @property
    def gray_below(self) -> float:
        """Score below which the panel is gray."""
        return self.dense - MARGIN

    @property
    def description(self) -> str:
        """The panel in words."""
        smaller = "" if self.smaller is None else f"; smaller dense {number(self.smaller)}"
        points = "; ".join(point.description for point in self.points)
        return (
            f"{spaced(self.dimension)} against bits per weight. Dense"
            f" {number(self.dense)}{smaller}; {points}."
        )


def panels(
    groups: Sequence[SeedGroup], *, dense: SeedGroup, smaller: Mapping[str, str]
) -> tuple[Panel, ...]:
    """Return a panel per dimension in which the dense source and a compressed version have scores.

    `smaller` maps dense sources to the smaller dense model to compare with.
    """
    smaller_dense = smaller_of(dense, groups, smaller)
    result = []
    for name in DIMENSIONS:
        score, points = dense.mean(name), _points(groups, dense=dense, dimension=name)
        if score is not None and points:
            smaller_score = smaller_dense.mean(name) if smaller_dense else None
            result.append(Panel(name, dense=score, smaller=smaller_score, points=points))
    return tuple(result)


def _points(
    groups: Sequence[SeedGroup], *, dense: SeedGroup, dimension: str
) -> tuple[CurvePoint, ...]:
    points = []
    for group in compressed_of(dense, groups):
        mean, change = group.mean(dimension), difference(group, dense, dimension)
        if mean is not None and change is not None:
            points.append(
                CurvePoint(
                    method=group.first.method,
                    recipe=group.first.recipe,
                    bits=group.first.nominal_bits,
                    mean=mean,
                    spread=group.spread(dimension),
                    gray=change < -MARGIN,
                )
            )
    return tuple(points)
