"""Does a search promote by luck? Searches in which every candidate truly loses the margin.

Each search bisects a frontier of 64 recipes. Every candidate's answers have a true drop of the
margin, in one dimension of `--items` items on each part of the suite, with the flips of a
compressed model (10% of the answers change). The search part is judged as `comptrust search` does
it, at most three times as it grows; the smallest that passes there is judged once on the part held
back, with the gate's own bound. The naive search judges its winner on the part that chose it.

    python benchmarks/search.py [--searches 1000] [--items 204]

A search misses if its winner passes. At most 67 of 1,000 may: 5%, and two and a half standard
errors.
"""

import argparse
import time

import numpy as np

from comptrust.compression.sensitivity import Sensitivity, Unit
from comptrust.gate.statistics import score_bound, students_t
from comptrust.records import Recipe
from comptrust.search.frontier import Frontier
from comptrust.search.run import bisect
from comptrust.search.split import LOOKS

POINTS, CHANGED, CANDIDATES = 5.0, 0.10, 8


def frontier() -> Frontier:
    """Return a frontier of 65 recipes, whose steps all add the same bytes."""
    units = tuple(
        Unit(layers=(f"layer.{number}",), weights=1000, losses={4: 1.0 + number, 8: 0.0})
        for number in range(64)
    )
    found = Sensitivity(group_size=64, calibration_tokens=1, units=units)
    recipe = Recipe(base_model="m", method="rtn", bits=4, group_size=64)
    return Frontier(found, widths=(4, 8), recipe=recipe, dense_bytes=0.0)


def losses(chance: np.random.Generator, items: int) -> np.ndarray:
    """Return an answer's change: 1 is lost, -1 won; a true drop of the margin."""
    lost = (CHANGED + POINTS / 100) / 2
    return chance.choice([1, 0, -1], p=[lost, 1 - CHANGED, CHANGED - lost], size=items)


def passes(sample: np.ndarray) -> bool:
    """Return whether the gate's score bound rules out the margin."""
    step = 100 / len(sample)
    error = 100 * float(sample.std()) / len(sample) ** 0.5 * students_t(len(sample) - 1)
    return score_bound(100 * float(sample.mean()), standard_error=error, step=step) < POINTS


def search(chance: np.random.Generator, line: Frontier, items: int) -> tuple[bool, bool, int]:
    """Return whether one search promotes its winner, whether a naive one does, and its tries."""
    tried = []

    def judge(place: int) -> bool:
        tried.append(place)
        answers = losses(chance, items)
        return any(passes(answers[: round(look * items)]) for look in LOOKS)

    winner = bisect(line, judge, budget=CANDIDATES, close=0.0)
    naive = winner is not None
    return naive and passes(losses(chance, items)), naive, len(tried)


def main() -> None:
    """Run the searches and print how many promoted a candidate that loses the margin."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=1000)
    parser.add_argument("--items", type=int, default=204)
    options = parser.parse_args()
    chance, line, began = np.random.default_rng(0), frontier(), time.process_time()
    rows = [search(chance, line, options.items) for _ in range(options.searches)]
    missed, naive, tries = (sum(column) for column in zip(*rows, strict=True))
    allowed = options.searches * 0.05 + 2.5 * (options.searches * 0.05 * 0.95) ** 0.5
    print(f"searches: {options.searches}, {options.items} items on each part, {tries} candidates")
    print(f"promoted a candidate that loses the margin: {missed} (allowed: {allowed:.0f})")
    print(f"a naive search, which judges its winner on the part that chose it: {naive}")
    print(f"CPU time: {time.process_time() - began:.1f} s")
    raise SystemExit(missed > allowed)


if __name__ == "__main__":
    main()
