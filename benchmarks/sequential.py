"""What verdicts cost that may stop early, by simulation: `python benchmarks/sequential.py`.

A verdict has nine dimensions with a margin of 5 points. Eight lose nothing. The ninth has a known
true drop and an aggregate of its own; beside the drop, a share of its answers changes as often one
way as the other, as in the other eight. Every run is looked at after every batch. Printed: how
often the verdict passes, stays open or is blocked, how often a drop is blocked before the cap, and
the prompts asked, as a share of those of the fixed plan for all nine. A drop of exactly the margin
may pass in at most 5% of the runs, and be blocked before the cap in at most 5%.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from comptrust.gate import power, statistics
from comptrust.gate.power import Design
from comptrust.gate.sequential import forecast
from comptrust.gate.sequential import plan as plans
from comptrust.gate.sequential.betting import Stakes
from comptrust.gate.sequential.forecast import Bets, Ends
from comptrust.gate.sequential.plan import Stretch
from comptrust.records import Message, Prompt, Suite
from comptrust.trust import base
from comptrust.trust.base import Table

DIMENSIONS, MARGIN = 9, 5.0
DROPS = (0.0, 2.0, 5.0, 10.0, 30.0)
CHANGED = (0.0, 0.02, 0.05, 0.10)
RIGHT = 0.7
"""Share of prompts that the dense model answers rightly."""
TEXTS = 25
MEASURED = 0.52
"""Mean loss of a graded answer that is lost: 1 to 25 of 25 texts."""
CHUNK = 100_000
"""Numbers computed at once."""

Values = dict[str, np.ndarray]
"""Name -> values of shape (runs, n)."""
Draw = Callable[[np.random.Generator, Table, int, float, float], tuple[Values, Values, np.ndarray]]
"""Generator, prompts, runs, drop (0-1), share changed -> dense, candidate, losses (runs, n)."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """An aggregate of answers."""

    name: str
    dimension: str
    prompts: Callable[[int], list[Prompt]]
    """Number of items -> prompts."""
    draw: Draw

    def suite(self, items: int) -> Suite:
        """Return a suite of so many items."""
        return Suite(
            name="simulated", revision="1", required={}, prompts=tuple(self.prompts(items))
        )


def prompt(
    dimension: str, scenario: str, name: str, *, target: str | None = None, **extra: object
) -> Prompt:
    """Return a prompt without text."""
    return Prompt(
        id=name,
        dimension=dimension,
        scenario=scenario,
        messages=(Message(role="user", content=name),),
        target=target,
        extra=extra,
    )


def questions(items: int, *, sizes: tuple[int, ...] = (1,)) -> list[Prompt]:
    """Return questions about so many items, of the given sizes in turn."""
    return [
        prompt("mmlu", "anatomy", f"{i}/{n}", target="A", cluster=f"item {i}")
        for i in range(items)
        for n in range(sizes[i % len(sizes)])
    ]


def statements(items: int) -> list[Prompt]:
    """Return statements in three settings, each an item of its own."""
    return [
        prompt(
            "stereotype",
            name,
            f"{name}/t/g/{i}",
            topic="t",
            group="g",
            template=i,
            cluster=f"{name}{i}",
        )
        for i in range(items // 3)
        for name in ("benign", "untargeted", "targeted")
    ]


def beginnings(items: int) -> list[Prompt]:
    """Return beginnings to be continued, in eight settings."""
    names = base.get("toxicity").required
    return [
        prompt("toxicity", name, f"{name}/{i}", cluster=f"{name}/{i}")
        for i in range(items // len(names))
        for name in names
    ]


def people(items: int) -> list[Prompt]:
    """Return people in two settings, groups and labels balanced."""
    return [
        prompt(
            "fairness",
            f"zero_shot_br_{i % 2}",
            str(i),
            target="yes" if i // 2 % 2 else "no",
            sensitive=i // 4 % 2,
            cluster=str(i),
        )
        for i in range(items)
    ]


def right_or_wrong(
    rng: np.random.Generator, table: Table, runs: int, drop: float, changed: float, *, fate: float
) -> tuple[Values, Values, np.ndarray]:
    """Draw right and wrong answers; a share `fate` of the items share one fate."""
    _, item = np.unique(table.cluster.astype(str), return_inverse=True)
    shared = (rng.random((runs, item.max() + 1)) < fate)[:, item]
    right, chance = (
        np.where(shared, rng.random((runs, item.max() + 1))[:, item], rng.random((runs, len(item))))
        for _ in range(2)
    )
    dense = (right < RIGHT).astype(float)
    lost = chance < (drop + changed / 2) / RIGHT
    won = chance < changed / 2 / (1 - RIGHT)
    ours = np.where(dense == 1, 1.0 - lost, won)
    return {"correct": dense}, {"correct": ours}, dense - ours


def shares_of_texts(
    rng: np.random.Generator, table: Table, runs: int, drop: float, changed: float
) -> tuple[Values, Values, np.ndarray]:
    """Draw how many of 25 texts agree."""
    shape = (runs, len(table.ids))
    dense = np.where(rng.random(shape) < RIGHT, 0.0, TEXTS)
    moved = rng.integers(1, TEXTS + 1, shape)
    chance = rng.random(shape)
    lost = moved * (chance < (drop / MEASURED + changed / 2) / RIGHT)
    won = moved * (chance < changed / 2 / (1 - RIGHT))
    ours = np.where(dense == 0, lost, TEXTS - won)
    return {"agree": dense}, {"agree": ours}, (ours - dense) / TEXTS


def maxima(
    rng: np.random.Generator, table: Table, runs: int, drop: float, changed: float
) -> tuple[Values, Values, np.ndarray]:
    """Draw the most toxic of five texts; the mean maximum of the dense model is 5/8."""
    shape = (runs, len(table.ids))
    dense, again = (rng.random((5, *shape)).max(axis=0) ** 3 for _ in range(2))
    ours = np.where(rng.random(shape) < changed, again, dense)
    ours = np.where(rng.random(shape) < drop / (1 - 5 / 8), 1.0, ours)
    return {"toxicity": dense}, {"toxicity": ours}, ours - dense


def predictions(
    rng: np.random.Generator, table: Table, runs: int, drop: float, changed: float
) -> tuple[Values, Values, np.ndarray]:
    """Draw predictions about people; the gap of each setting grows by the drop."""
    shape = (runs, len(table.ids))
    sign = 2 * table.values["sensitive"] - 1
    dense = (rng.random(shape) < 0.5).astype(float)
    chance = rng.random(shape)
    up, down = changed / 2 + np.maximum(sign, 0) * drop, changed / 2 + np.maximum(-sign, 0) * drop
    # Half of the drop on each side: one group says yes more often, the other one less.
    ours = np.where(dense == 1, 1.0 - (chance < down), chance < up)
    return {"prediction": dense}, {"prediction": ours}, ours - dense


KINDS = (
    Kind("binary", "mmlu", questions, partial(right_or_wrong, fate=0.0)),
    Kind(
        "binary, items of 1 to 4",
        "mmlu",
        partial(questions, sizes=(1, 2, 3, 4)),
        partial(right_or_wrong, fate=0.5),
    ),
    Kind("graded", "stereotype", statements, shares_of_texts),
    Kind("maximum", "toxicity", beginnings, maxima),
    Kind("gap", "fairness", people, predictions),
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """A dimension of the simulated verdict: its plan, its prompts and its stakes."""

    kind: Kind
    suite: Suite
    stretch: Stretch
    stakes: Stakes
    table: Table
    rows: list[list[int]]
    """Prompts asked at each look, in the suite's order."""
    fixed: int
    """Prompts of the fixed plan for all nine."""

    @classmethod
    def of(cls, kind: Kind, changed: float) -> Layout:
        """Lay out a dimension of so many changed answers, with enough items for its cap."""
        suite = kind.suite(1200)
        _, contrast, table = plans.design(suite, kind.dimension, seed=0)
        design = Design.of(contrast, table)
        needed = design.needed(MARGIN, changed=changed, power=power.each(DIMENSIONS))
        assert needed is not None
        suite = kind.suite(math.ceil(3 * needed / 24) * 24)
        planned = plans.stretch(suite, kind.dimension, MARGIN, judged=DIMENSIONS, changed=changed)
        order, contrast, table = plans.design(suite, kind.dimension, seed=0)
        return cls(
            kind=kind,
            suite=suite,
            stretch=planned,
            stakes=Stakes.of(order, contrast),
            table=table,
            rows=[order.rows(look) for look in planned.looks],
            fixed=len(order.rows(needed)),
        )

    @property
    def asked(self) -> np.ndarray:
        """Prompts asked at each look, from none on."""
        return np.array([0, *map(len, self.rows)])


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Answers of one dimension in each run, and the bets on them."""

    layout: Layout
    dense: Values
    ours: Values
    bets: Bets

    @classmethod
    def of(cls, layout: Layout, runs: int, *, drop: float, changed: float, seed: int) -> Drawn:
        """Draw the answers."""
        dense, ours, losses = layout.kind.draw(
            np.random.default_rng(seed), layout.table, runs, drop / 100, changed
        )
        size = max(1, CHUNK // layout.stakes.values.size)
        errors = (plans.PASS_ERROR, plans.BLOCK_ERROR)
        parts = [
            Bets.on(losses[start : start + size], layout.stakes, layout.stretch, errors=errors)
            for start in range(0, runs, size)
        ]
        columns = zip(*((part.passes, part.blocks, part.log_block) for part in parts), strict=True)
        return cls(layout, dense, ours, Bets(*map(np.concatenate, columns)))

    def tables(self, run: int, look: int) -> tuple[Table, Table]:
        """Return the candidate's and the dense model's answers of one run up to a look."""
        rows = np.isin(np.arange(len(self.layout.table.ids)), self.layout.rows[look])
        whole = self.layout.table
        return tuple(  # type: ignore[return-value]
            dataclasses.replace(
                whole,
                refusal=np.zeros(len(whole.ids)),
                values=whole.values | {name: column[run] for name, column in side.items()},
            ).select(rows)
            for side in (self.ours, self.dense)
        )

    def worse(self, run: int, look: int) -> bool:
        """Return whether the published score fell by more than the margin, too."""
        if self.layout.stakes.linear:
            return True
        dimension = base.get(self.layout.kind.dimension)
        return statistics.observed(*self.tables(run, look), dimension=dimension) > MARGIN

    def at_cap(self, run: int) -> str:
        """Return the outcome by the gate's own bound."""
        look = len(self.layout.rows) - 1
        dimension = base.get(self.layout.kind.dimension)
        error = plans.CAP_ERROR + (0 if self.layout.stretch.early else plans.PASS_ERROR)
        drop = statistics.compare(
            *self.tables(run, look), dimension=dimension, confidence=1 - error
        )
        assert drop is not None
        return drop.outcome(MARGIN)


def simulate(drawn: list[Drawn]) -> Ends:
    """Run the courses, one for each run."""
    return forecast.simulate(
        [row.layout.stretch for row in drawn],
        [row.bets for row in drawn],
        worse=lambda number, run, look: drawn[number].worse(run, look),
        at_cap=lambda number, run: drawn[number].at_cap(run),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    began = time.perf_counter()
    print("changed, drop: of the answers, and of the ninth dimension in points. pass to blocked:")
    print("verdicts, in percent. certain: blocked before the cap. prompts: of the fixed plan's.")
    head = ("ninth dimension", "changed", "drop", "pass", "open", "block", "certain", "prompts")
    print("{:<24} {:>7} {:>5} {:>6} {:>6} {:>6} {:>7} {:>7}".format(*head))
    for kind, changed in itertools.product(KINDS, CHANGED):
        layout = Layout.of(kind, changed)
        # Of nine dimensions only fairness has gaps.
        like = Layout.of(KINDS[0], changed) if kind.name == "gap" else layout
        others = [
            Drawn.of(like, runs, drop=0.0, changed=changed, seed=number)
            for number in range(1, DIMENSIONS)
        ]
        for drop in DROPS:
            ninth = Drawn.of(layout, runs, drop=drop, changed=changed, seed=0)
            verdict = [*others, ninth]
            ends = simulate(verdict)
            certainly = ((ends.outcomes == "block") & ends.early).any(axis=1)
            asked = sum(row.layout.asked[ends.looks[:, n]] for n, row in enumerate(verdict))
            fixed = sum(row.layout.fixed for row in verdict)
            passed = (ends.outcomes == "pass").all(axis=1).mean()
            blocked = (ends.outcomes == "block").any(axis=1).mean()
            shares = (passed, 1 - passed - blocked, blocked, certainly.mean())
            shown = " ".join(f"{100 * share:5.1f}%" for share in shares)
            print(
                f"{kind.name:<24} {100 * changed:6.0f}% {drop:5.0f} {shown}"
                f" {100 * np.mean(asked) / fixed:6.1f}%",
                flush=True,
            )
    print(f"\n{runs} runs a row, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
