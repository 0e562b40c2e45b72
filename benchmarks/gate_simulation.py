"""How often the gate is wrong, by simulation, and how fast it is: `python
benchmarks/gate_simulation.py [--runs 2000]`.

A simulated dimension is `mmlu` over ten scenarios. A dense model is right on 70% of n prompts; a
candidate loses some right answers and gains others, so that the true drop is exactly known.
Printed: how often each truth passes, is blocked or stays open.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np

from comptrust.gate import statistics
from comptrust.trust import base
from comptrust.trust.base import Table

SUBJECTS = 10
DENSE = 0.7


def table(correct: np.ndarray, *, clusters: int | None = None) -> Table:
    """Return outcomes of n prompts in ten scenarios; each prompt its own cluster, or `clusters` of
    equal size in each scenario.
    """
    n = len(correct)
    index = np.arange(n)
    group = index if clusters is None else _group(n, clusters)
    return Table(
        ids=np.array([f"s{i % SUBJECTS}#{i}" for i in index], dtype=object),
        scenario=np.array([f"s{i % SUBJECTS}" for i in index], dtype=object),
        cluster=group.astype(str).astype(object),
        answer=correct.astype(str).astype(object),
        refusal=np.zeros(n),
        values={"correct": correct.astype(float), "lenient": correct.astype(float)},
    )


def _group(n: int, clusters: int) -> np.ndarray:
    return (np.arange(n) // SUBJECTS) % clusters


def pair(
    rng: np.random.Generator, n: int, *, drop: float, changed: float, clusters: int | None = None
) -> tuple[Table, Table]:
    """Return (candidate, dense) with a true drop of `drop` (0-1); beside it `changed` is flipped as
    often one way as the other.

    With `clusters`, the prompts of one cluster share their fate.
    """
    dense = rng.random(n) < DENSE
    lose, win = (drop + changed / 2) / DENSE, (changed / 2) / (1 - DENSE)
    chance = (
        rng.random(n)
        if clusters is None
        else rng.random((SUBJECTS, clusters))[np.arange(n) % SUBJECTS, _group(n, clusters)]
    )
    return table(np.where(dense, chance >= lose, chance < win), clusters=clusters), table(
        dense, clusters=clusters
    )


def simulate(
    n: int,
    *,
    drop: float,
    changed: float,
    points: float,
    runs: int,
    resamples: int,
    clusters: int | None = None,
) -> Counter[str]:
    """Count the outcomes over independent runs."""
    rng = np.random.default_rng(7)
    dimension = base.get("mmlu")
    found: Counter[str] = Counter()
    for run in range(runs):
        candidate, dense = pair(rng, n, drop=drop, changed=changed, clusters=clusters)
        result = statistics.compare(
            candidate, dense, dimension=dimension, seed=run, resamples=resamples
        )
        assert result is not None
        found[result.outcome(points)] += 1
    return found


def _line(truth: str, points: float, n: int, changed: float, counts: Counter[str]) -> str:
    cells = "  ".join(
        f"{100 * counts[name] / counts.total():5.1f}%" for name in ("pass", "inconclusive", "block")
    )
    return f"{truth:<25} {points:6.0f} {n:5d}   {100 * changed:4.0f}%   {cells}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000, help="per run; the gate uses 10,000")
    options = parser.parse_args()

    print("truth                     margin     n  changed    pass  inconclusive  block")
    for points in (3.0, 5.0):
        for changed in (0.0, 0.02, 0.05, 0.10):
            n = statistics.plan(points, changed=changed)
            for truth, drop in (("drop = margin", points / 100), ("lossless", 0.0)):
                counts = simulate(
                    n,
                    drop=drop,
                    changed=changed,
                    points=points,
                    runs=options.runs,
                    resamples=options.resamples,
                )
                print(_line(truth, points, n, changed, counts))
    for clusters in (3, 10):
        counts = simulate(
            600,
            drop=0.05,
            changed=0.05,
            points=5.0,
            runs=options.runs,
            resamples=options.resamples,
            clusters=clusters,
        )
        print(_line(f"= margin, {SUBJECTS * clusters} clusters", 5.0, 600, 0.05, counts))

    rng = np.random.default_rng(0)
    tables = [pair(rng, 1000, drop=0.02, changed=0.05) for _ in range(9)]
    began = time.perf_counter()
    for seed, (candidate, dense) in enumerate(tables):
        statistics.compare(candidate, dense, dimension=base.get("mmlu"), seed=seed)
    print(
        f"\nnine dimensions of 1,000 prompts, {statistics.RESAMPLES} resamples:"
        f" {time.perf_counter() - began:.2f} s"
    )


if __name__ == "__main__":
    main()
