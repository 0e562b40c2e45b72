"""The frontier of mixed recipes: each step gives the unit that gains most per byte more bits.

A greedy solution of the multiple-choice knapsack (Sinha and Zoltners 1979): of each unit only the
widths on the lower convex hull of bytes and loss count, and steps are taken in the order of loss
removed per byte. Every recipe of the frontier has at least the bits of the smaller ones in all
layers, so that a bisection makes sense.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from comptrust.compression.sensitivity import Sensitivity, Unit
from comptrust.records import DENSE_BITS, LayerBits, Recipe
from comptrust.sweep.facts import stored_bits


@dataclass(frozen=True)
class Step:
    """More bits for one unit."""

    unit: int
    bits: int
    bytes: float
    """What it adds."""
    gain: float
    """Loss removed per byte."""


class Frontier:
    """All mixed recipes from the fewest bits everywhere to the most."""

    def __init__(
        self, found: Sensitivity, *, widths: Sequence[int], recipe: Recipe, dense_bytes: float
    ) -> None:
        """`dense_bytes` is what the files hold besides the units; 16 in `widths` is dense."""
        self.sensitivity, self.units, self.recipe = found, found.units, recipe
        self.widths = sorted(widths)
        steps = [step for number in range(len(self.units)) for step in self._hull(number)]
        self.steps = sorted(steps, key=lambda step: (-step.gain, step.unit, step.bits))
        if self.widths[-1] == DENSE_BITS:
            self.steps.pop()  # after it nothing would be compressed
        self._sizes = [dense_bytes + sum(self._bytes(unit, self.widths[0]) for unit in self.units)]
        for step in self.steps:
            self._sizes.append(self._sizes[-1] + step.bytes)

    def __len__(self) -> int:
        return len(self._sizes)

    def size(self, place: int) -> float:
        """Return the bytes of a recipe, estimated from its bits; they grow with the place."""
        return self._sizes[place]

    def bits(self, place: int) -> list[int]:
        """Return the bits of each unit."""
        chosen = [self.widths[0]] * len(self.units)
        for step in self.steps[:place]:
            chosen[step.unit] = step.bits
        return chosen

    def average_bits(self, place: int) -> float:
        """Return the mean bits of a code."""
        chosen = self.bits(place)
        total = sum(unit.weights for unit in self.units)
        pairs = zip(self.units, chosen, strict=True)
        return sum(unit.weights * bits for unit, bits in pairs) / total

    def at(self, place: int) -> Recipe:
        """Return the recipe; the width of most units is the recipe's own, others have rules."""
        chosen = self.bits(place)
        coded = Counter(bits for bits in chosen if bits < DENSE_BITS)
        usual = min(coded, key=lambda bits: (-coded[bits], bits))
        rules = tuple(
            LayerBits(
                layers=tuple(
                    layer
                    for unit, bits in zip(self.units, chosen, strict=True)
                    if bits == width
                    for layer in unit.layers
                ),
                bits="dense" if width == DENSE_BITS else width,
            )
            for width in sorted(set(chosen) - {usual})
        )
        return self.recipe.model_copy(update={"bits": usual, "layer_bits": rules})

    def _bytes(self, unit: Unit, bits: int) -> float:
        width = None if bits == DENSE_BITS else bits
        return unit.weights * stored_bits(width, self.sensitivity.group_size) / 8

    def _hull(self, number: int) -> list[Step]:
        """Return the steps of a unit along the lower convex hull, each with its gain per byte."""
        unit = self.units[number]
        points = [
            (self._bytes(unit, bits), unit.losses.get(bits, 0.0), bits) for bits in self.widths
        ]
        hull = points[:1]
        for point in points[1:]:
            while len(hull) > 1 and _gain(hull[-2], point) >= _gain(hull[-2], hull[-1]):
                hull.pop()
            hull.append(point)
        return [
            Step(number, after[2], after[0] - before[0], _gain(before, after))
            for before, after in zip(hull, hull[1:], strict=False)
        ]


def _gain(before: tuple[float, float, int], after: tuple[float, float, int]) -> float:
    return (before[1] - after[1]) / (after[0] - before[0])


def between(frontier: Frontier, *, failed: int, passed: int, count: int = 1) -> list[int]:
    """Return up to `count` places between two, at equal distances in bytes; one is halfway.

    -1 and the number of places stand for ends that were not tried.
    """
    places = range(failed + 1, passed)
    first, last = frontier.size(max(failed, 0)), frontier.size(min(passed, len(frontier) - 1))
    aims = [first + (last - first) * part / (count + 1) for part in range(1, count + 1)]
    nearest = {
        min(places, key=lambda place: (abs(frontier.size(place) - aim), place))
        for aim in (aims if places else ())
    }
    return sorted(nearest)


def bisect(
    frontier: Frontier,
    judge: Callable[[list[int]], list[bool]],
    *,
    budget: int,
    close: float,
    at_once: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> int | None:
    """Return the smallest place that passed within a budget of places; None if none.

    `judge` is given up to `at_once` places and says which pass. It ends early if a smaller passing
    one would save less than `close` bytes.
    """
    failed, passed = -1, len(frontier)
    while budget > 0:
        known = passed < len(frontier)
        if known and frontier.size(passed) - frontier.size(max(failed, 0)) < close:
            break
        count = min(at_once, budget)
        places = between(frontier, failed=failed, passed=passed, count=count)
        if not places or stop():
            break
        budget -= len(places)
        outcomes = dict(zip(places, judge(places), strict=True))
        passed = min((place for place in places if outcomes[place]), default=passed)
        failed = max((place for place in places if place < passed), default=failed)
    return passed if passed < len(frontier) else None
