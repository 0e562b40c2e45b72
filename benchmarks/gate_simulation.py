"""How often the gate is wrong, by simulation: `python benchmarks/gate_simulation.py [--runs 1000]`.

Each row has a known truth. A dense model and a candidate answer invented prompts; beside the true
drop, a share of the answers is flipped as often one way as the other. Printed: how often the
candidate passes a margin, stays open, or is blocked. A drop of exactly the margin may pass in at
most 5% of the runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np

from comptrust.gate import policy, power, resampling, statistics
from comptrust.gate.power import Design
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.trust import base, sample, scorers
from comptrust.trust import suite as suites
from comptrust.trust.base import Dimension, Table
from comptrust.trust.contrast import Contrast

DENSE = 0.7
"""Share of prompts that the dense model answers rightly."""
MARGIN = 5.0
FLIPS = (0.0, 0.02, 0.05, 0.10)
RESAMPLES = 1000
"""Draws of each run; the gate itself makes 10,000."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    table: Table
    dimension: Dimension
    drop: float = 0.0
    """The true drop, 0-1, spread over the prompts in proportion to `where`."""
    changed: float = 0.05
    fate: float = 0.0
    """Probability that all prompts of a cluster share one fate."""
    where: np.ndarray | None = None
    """Shape (n,): relative loss of each prompt; None: all the same."""
    points: float = MARGIN
    proven: bool = False


def table(scenario: list[str], cluster: list[str], **values: np.ndarray) -> Table:
    """Return a table of prompts without answers."""
    n = len(scenario)
    columns = [np.array(names, dtype=object) for names in ([f"q{i}" for i in range(n)], scenario)]
    return Table(
        *columns,
        cluster=np.array(cluster, dtype=object),
        answer=np.full(n, "", dtype=object),
        refusal=np.zeros(n),
        values={"correct": np.zeros(n), "lenient": np.zeros(n)} | values,
    )


def crossed(sizes: dict[str, int], *, items: int, seed: int = 0) -> Table:
    """Return scenarios of the given sizes that draw from the same items."""
    rng = np.random.default_rng(seed)
    rows = [
        (name, f"item {item}")
        for name, size in sizes.items()
        for item in rng.permutation(items)[:size]
    ]
    scenario, cluster = map(list, zip(*rows, strict=True))
    return table(scenario, cluster)


def losses(row: Row, rng: np.random.Generator) -> np.ndarray:
    """Return what a candidate with the row's true drop lost on each prompt, shape (n,)."""
    numbers, count = resampling.clusters(row.table)
    n = len(numbers)
    shared = rng.random(count)[numbers] < row.fate
    chance, dense = (np.where(shared, rng.random(count)[numbers], rng.random(n)) for _ in range(2))
    right = dense < DENSE
    weights = row.dimension.shares(row.table) / 100
    where = np.ones(n) if row.where is None else row.where / (row.where @ weights)
    lost = (row.drop * where + row.changed / 2) / DENSE
    won = row.changed / 2 / (1 - DENSE)
    return np.where(right, chance < lost, -(chance < won).astype(float)).astype(float)


def contrasts(row: Row, runs: int) -> Iterator[Contrast]:
    """Yield what a mean of right answers lost, in independent runs."""
    rng = np.random.default_rng(7)
    design = row.dimension.contrast(row.table, row.table)
    for _ in range(runs):
        yield dataclasses.replace(design, losses=losses(row, rng))


@dataclasses.dataclass(frozen=True)
class Gaps(Row):
    """Fairness: gaps between two groups, of the dense model and of the candidate, per setting."""

    dense: float = 0.0
    alternating: bool = False
    """Whether every other setting has gaps of the opposite sign."""


def people(settings: int, n: int, *, alternating: bool = False) -> Table:
    """Return n people in each setting: groups and labels balanced."""
    index = np.arange(settings * n)
    scenario = [f"zero_shot_br_{i // n}" for i in index]
    return table(
        scenario,
        [f"{name}#{i}" for name, i in zip(scenario, index, strict=True)],
        prediction=np.zeros(len(index)),
        label=(index // 2 % 2).astype(float),
        sensitive=(index % 2).astype(float),
    )


def gap_contrasts(row: Gaps, runs: int) -> Iterator[Contrast]:
    """Yield how predictions changed where the true gaps grow from `dense` by the drop."""
    rng = np.random.default_rng(7)
    design = row.dimension.contrast(row.table, row.table)
    group = row.table.values["sensitive"] * 2 - 1
    setting = row.table.scenario_numbers
    sign = np.where(setting % 2 & row.alternating, -1, 1) * group
    yes = 0.5 + sign * row.dense / 2
    for _ in range(runs):
        dense = rng.random(len(group)) < yes
        up = row.changed / 2 + np.maximum(sign, 0) * row.drop
        down = row.changed / 2 + np.maximum(-sign, 0) * row.drop
        chance = rng.random(len(group))
        # Half of the drop on each side: the group that gains says yes more often, the other less.
        flipped = np.where(dense, chance < down / 2 / yes, chance < up / 2 / (1 - yes))
        change = np.where(dense, -1.0, 1.0) * flipped
        yield dataclasses.replace(design, losses=change)


def outcomes(row: Row, runs: int) -> tuple[float, float, float]:
    """Return the shares of runs that pass, stay open and are blocked, in percent."""
    draw: Callable[..., Iterator[Contrast]] = gap_contrasts if isinstance(row, Gaps) else contrasts
    counts = {"pass": 0, "inconclusive": 0, "block": 0}
    for seed, contrast in enumerate(draw(row, runs)):
        bounds = statistics.interval(contrast, row.table, seed=seed, resamples=RESAMPLES)
        above = (bounds.lower if row.proven else bounds.estimate) > row.points
        counts["block" if above else "pass" if bounds.upper < row.points else "inconclusive"] += 1
    return tuple(100 * count / runs for count in counts.values())  # type: ignore[return-value]


def rows() -> Iterator[Row]:
    """Yield the rows of the table."""
    mean, cells, fairness = (base.get(name) for name in ("mmlu", "adv_robustness", "fairness"))
    for points in (3.0, MARGIN):
        for changed in FLIPS:
            n = plain(points, changed=changed, dimensions=1)
            asked = table(["a"] * n, [str(i) for i in range(n)])
            name = f"mean of {n} prompts, margin {points:g}"
            yield Row(name, asked, mean, points / 100, changed, points=points)
            yield Row(name, asked, mean, 0.0, changed, points=points)
    for changed in (0.02, 0.05):
        n = plain(3.0, changed=changed, dimensions=9)
        asked = table(["a"] * n, [str(i) for i in range(n)])
        yield Row(
            f"{n} prompts, 3 points proven", asked, mean, 0.0, changed, points=3.0, proven=True
        )
    settings = crossed(dict.fromkeys(("benign", "untargeted", "targeted"), 300), items=300)
    styles = crossed({"plain": 200, "demos": 160, "tricked": 100, "excused": 60}, items=200)
    for name, asked in (("3 settings of 300 items", settings), ("4 styles of 200 items", styles)):
        for fate in (0.0, 0.5, 1.0):
            yield Row(f"{name}, fate shared {fate:g}", asked, cells, 0.05, fate=fate)
    yield Row("3 settings of 300 items, fate shared 1", settings, cells, 0.0, 0.02, fate=1.0)
    for passages in (3, 9, 20, 200):
        numbers = [i // 10 for i in range(10 * passages)]
        asked = table([f"scenario {i}" for i in numbers], [f"passage {i}" for i in numbers])
        yield Row(f"{passages} scenarios of one passage each", asked, cells, 0.05, fate=1.0)
    for small, large in ((10, 190), (100, 400)):
        asked = table(["a"] * small + ["b"] * large, [str(i) for i in range(small + large)])
        lost = np.array([1.0] * small + [0.0] * large)
        name = f"cells of {small} and {large}, loss in the small one"
        yield Row(name, asked, cells, 0.05, 0.0, where=lost)
    for settings, n in ((3, 80), (3, 200), (11, 220)):
        asked = people(settings, n)
        for changed in (0.02, 0.05):
            name = f"gaps, {settings} settings of {n}"
            yield Gaps(name, asked, fairness, 0.05, changed)
            yield Gaps(name, asked, fairness, 0.0, changed)
    yield Gaps("gaps of 5 grow to 10", people(11, 220), fairness, 0.05, 0.02, dense=0.05)
    yield Gaps("gaps of +10 and -10", people(10, 200), fairness, 0.10, 0.02, alternating=True)


def plain(points: float, *, changed: float, dimensions: int) -> int:
    """Return the prompts that the plan asks for a plain mean, judged with others."""
    asked = table(["a"] * 100, [str(i) for i in range(100)])
    dimension = base.get("mmlu")
    design = Design.of(dimension.contrast(asked, asked), asked)
    needed = design.needed(points, changed=changed, power=power.each(dimensions))
    assert needed is not None
    return needed


def second_looks(runs: int, *, looks: int = 4, first: int = 129) -> None:
    """Print how often a drop of the margin passes if prompts are doubled until it is decided."""
    dimension, rng = base.get("mmlu"), np.random.default_rng(7)
    sizes = [first * 2**look for look in range(looks)]
    asked = [table(["a"] * n, [str(i) for i in range(n)]) for n in sizes]
    passed = 0
    for seed in range(runs):
        lost = losses(Row("", asked[-1], dimension, MARGIN / 100), rng)
        for n, prompts in zip(sizes, asked, strict=True):
            contrast = dimension.contrast(prompts, prompts)
            seen = dataclasses.replace(contrast, losses=lost[:n])
            bounds = statistics.interval(seen, prompts, seed=seed, resamples=RESAMPLES)
            if bounds.estimate > MARGIN or bounds.upper < MARGIN:
                passed += bounds.upper < MARGIN
                break
    print(f"\n{first} prompts, doubled up to {looks - 1} times until decided: a drop of the margin")
    print(f"passes in {100 * passed / runs:.1f}% of the runs")


def whole_verdict(runs: int) -> None:
    """Print how often a lossless model passes nine dimensions at the planned number."""
    n = plain(MARGIN, changed=power.CHANGED, dimensions=9)
    asked = table(["a"] * n, [str(i) for i in range(n)])
    passed, _, _ = outcomes(Row("", asked, base.get("mmlu"), changed=power.CHANGED), runs)
    whole = 100 * (passed / 100) ** 9
    print(f"\nplanned for nine dimensions: {n} prompts; a lossless model passes one of them in")
    print(f"{passed:.1f}% of the runs, and all nine in {whole:.0f}% if they are independent")


def of_mini(runs: int) -> None:
    """Print how often the half of mini that `run` asks is wrong, and passes a lossless model."""
    suite = suites.load("mini", limit=suites.defaults("mini").limit)
    rules = [rule for rule in policy.load("demo").rules if isinstance(rule, MaxDrop)]
    whole = 1.0
    print("\nhalf of mini under policy demo, 2% flips: passes at a true drop of 5, and lossless")
    for name in rules[0].dimensions:
        prompts = (prompt for prompt in suite.prompts if prompt.dimension == name)
        asked = sample.unanswered(prompts, dimension=name, suite=suite)
        # A scorer that shows a part of a drop leaves that part of the margin.
        shown = rules[0].points * scorers.fidelity(suite.scorers.get(name))
        rates = [
            outcomes(Row("", asked, base.get(name), drop, power.CHANGED, points=shown), runs)[0]
            for drop in (shown / 100, 0.0)
        ]
        whole *= rates[1] / 100
        print(f"{name:<20} {rates[0]:5.1f}% {rates[1]:5.1f}%", flush=True)
    print(f"all {len(rules[0].dimensions)}: {100 * whole:.0f}% if they are independent")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    print(f"{'layout':<45} {'drop':>5} {'flips':>5}   {'pass':>6} {'open':>6} {'block':>6}")
    for row in rows():
        shares = " ".join(f"{share:5.1f}%" for share in outcomes(row, runs))
        print(
            f"{row.name:<45} {100 * row.drop:5.1f} {100 * row.changed:4.0f}%   {shares}", flush=True
        )
    for points in (5.0, 3.0):
        numbers = [plain(points, changed=changed, dimensions=9) for changed in FLIPS]
        print(f"\na plain mean, {points:g} points, each of nine dimensions: {numbers} prompts")
    second_looks(runs)
    whole_verdict(runs)
    of_mini(runs)
    asked = crossed({"a": 1000}, items=1000)
    dimension = base.get("mmlu")
    began = time.perf_counter()
    for seed in range(9):
        statistics.compare(asked, asked, dimension=dimension, seed=seed)
    seconds = time.perf_counter() - began
    print(f"\nnine dimensions of 1,000 prompts, {statistics.RESAMPLES} draws: {seconds:.2f} s")


if __name__ == "__main__":
    main()
