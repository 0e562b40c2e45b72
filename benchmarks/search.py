"""Does a search promote by luck? Searches in which every candidate truly loses the margin.

Each search bisects a frontier of 65 recipes. Every candidate's answers have a true drop of the
margin, in one dimension of `--items` items on each part of the suite, with the flips of a
compressed model (10% of the answers change). The search part is asked as `comptrust search` asks
it, until the sequential gate has decided; the smallest that passes there is judged once on the part
held back, with the gate's own bound. The naive search promotes what passed the search part.

    python benchmarks/search.py [--searches 1000] [--items 204]

A search misses if its winner passes. At most 67 of 1,000 may: 5%, and two and a half standard
errors.
"""

import argparse
import time

import numpy as np

from comptrust.compression.sensitivity import Sensitivity, Unit
from comptrust.gate.sequential import plan as plans
from comptrust.gate.sequential.betting import Stakes
from comptrust.gate.sequential.forecast import Bets, simulate
from comptrust.gate.statistics import score_bound, students_t
from comptrust.records import Message, Prompt, Recipe, Suite
from comptrust.search.frontier import Frontier, bisect

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


def losses(chance: np.random.Generator, *shape: int) -> np.ndarray:
    """Return the changes of answers: 1 is lost, -1 won; a true drop of the margin."""
    lost = (CHANGED + POINTS / 100) / 2
    return chance.choice([1.0, 0.0, -1.0], p=[lost, 1 - CHANGED, CHANGED - lost], size=shape)


def passes(sample: np.ndarray, *, error: float = 0.05) -> bool:
    """Return whether the gate's score bound rules out the margin."""
    step = 100 / len(sample)
    spread = 100 * float(sample.std()) / len(sample) ** 0.5
    wider = spread * students_t(len(sample) - 1, confidence=1 - error)
    drop = 100 * float(sample.mean())
    return score_bound(drop, standard_error=wider, step=step, confidence=1 - error) < POINTS


def decided(answers: np.ndarray) -> np.ndarray:
    """Return which candidates pass the search part; `answers` has shape (candidates, items)."""
    prompts = tuple(
        Prompt(
            id=str(number),
            dimension="mmlu",
            scenario="anatomy",
            messages=(Message(role="user", content="?"),),
            target="A",
        )
        for number in range(answers.shape[1])
    )
    suite = Suite(name="simulated", revision="1", required={}, prompts=prompts)
    plan = plans.plan(suite, {"mmlu": POINTS})
    stretch = plan.stretches[0]
    order, contrast, _ = plans.design(suite, "mmlu", seed=plan.seed)
    errors = (plan.pass_error, plan.block_error)
    bets = Bets.on(answers, Stakes.of(order, contrast), stretch, errors=errors)
    asked = order.rows(stretch.cap)

    def at_cap(_: int, run: int) -> str:
        good = passes(answers[run, asked], error=plan.error_at_cap(stretch))
        return "pass" if good else "inconclusive"

    return np.asarray(simulate([stretch], [bets], at_cap=at_cap).outcomes[:, 0] == "pass")


def search(line: Frontier, outcomes: np.ndarray) -> tuple[bool, int]:
    """Return whether a search finds a winner, and its tries; `outcomes` are those in turn."""
    left = iter(outcomes)
    winner = bisect(line, lambda _: [bool(next(left))], budget=CANDIDATES, close=0.0)
    return winner is not None, len(outcomes) - len(list(left))


def main() -> None:
    """Run the searches and print how many promoted a candidate that loses the margin."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=1000)
    parser.add_argument("--items", type=int, default=204)
    options = parser.parse_args()
    chance, line, began = np.random.default_rng(0), frontier(), time.process_time()
    candidates = losses(chance, options.searches * CANDIDATES, options.items)
    good = decided(candidates).reshape(options.searches, CANDIDATES)
    tries = naive = missed = 0
    for row in good:
        wins, tried = search(line, row)
        tries += tried
        naive += wins
        missed += wins and passes(losses(chance, options.items))
    allowed = options.searches * 0.05 + 2.5 * (options.searches * 0.05 * 0.95) ** 0.5
    print(f"searches: {options.searches}, {options.items} items on each part, {tries} candidates")
    print(f"promoted a candidate that loses the margin: {missed} (allowed: {allowed:.0f})")
    print(f"a naive search, which promotes what passed the search part: {naive}")
    print(f"CPU time: {time.process_time() - began:.1f} s")
    raise SystemExit(missed > allowed)


if __name__ == "__main__":
    main()
