"""How often four gates let a worse model through: `python benchmarks/gates.py [--nel PYTHON]`.

Answers are right or wrong, equally weighted and independent. Every rule below then depends on the
number of prompts, of answers that got worse and of answers that got better alone, so that its rates
are sums over both numbers and no simulation:

- naive: passes if the mean dropped by at most the margin;
- McNemar: passes unless the candidate is significantly worse (exact, two-sided, 5%);
- nel gate: passes if the 95% interval of the paired difference (Student's t) is within the margin,
  from 10 prompts on: what NeMo Evaluator 0.3 documents, restated;
- comptrust: the gate's own functions.

`--nel` names the Python of an environment with `nemo-evaluator==0.3.0` and scipy. Its own gate then
judges the pairs on both sides of each limit, and the three cases by hand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import special, stats

from comptrust import api
from comptrust.errors import UserError
from comptrust.gate import statistics
from comptrust.imports import pairing
from comptrust.imports.log import FORMATS
from comptrust.trust import imported
from comptrust.trust.base import Table

PROMPTS = (30, 50, 100, 164, 198, 500, 1000, 2000)
MARGINS = (1.0, 2.0, 3.0, 5.0)
CHANGED = 0.02
"""Share of answers that change beside the loss, half of them for the better."""
NEGLIGIBLE = 1e-7
"""Probability at either end of a count that is left out."""
POLICY = """\
name: cases
dense: declared
stages: false
rules:
  - {rule: complete, dimensions: ["nemo-evaluator/*"]}
  - {rule: max_drop, points: 1, dimensions: ["nemo-evaluator/*"]}
"""
JUDGE = """\
import json, sys
from nemo_evaluator.config.gate_policy import GatePolicy
from nemo_evaluator.engine.gate import gate_runs
for line in sys.stdin:
    dense, candidate, points = json.loads(line)
    policy = {"defaults": {"metric": "mean_reward", "max_drop": points / 100}}
    print(gate_runs(dense, candidate, GatePolicy.model_validate(policy)).verdict, flush=True)
"""

Rule = Callable[[int, np.ndarray, np.ndarray, float], np.ndarray]
"""(prompts, worse answers, better answers, margin) -> whether the candidate passes."""


def naive(n: int, worse: np.ndarray, better: np.ndarray, points: float) -> np.ndarray:
    """Return whether the mean dropped by at most the margin."""
    return 100 * (worse - better) <= points * n + 1e-9


def mcnemar(n: int, worse: np.ndarray, better: np.ndarray, points: float) -> np.ndarray:
    """Return whether the candidate is not significantly worse."""
    p = 2 * special.bdtr(np.minimum(worse, better), worse + better, 0.5)
    return (worse <= better) | (p >= 0.05)


def nel_gate(n: int, worse: np.ndarray, better: np.ndarray, points: float) -> np.ndarray:
    """Return whether the 95% interval of the paired difference is within the margin."""
    drop = (worse - better) / n
    error = np.sqrt((worse + better - n * drop**2).clip(0) / (n - 1) / n)
    upper = drop + stats.t.ppf(0.975, df=n - 1) * error
    return (n >= 10) & (upper.round(6) <= points / 100)


def comptrust(n: int, worse: np.ndarray, better: np.ndarray, points: float) -> np.ndarray:
    """Return whether our gate passes the candidate, by its own functions."""
    cells = zip(worse.ravel().tolist(), better.ravel().tolist(), strict=True)
    passes = [drop_of(n, *cell).outcome(points) == "pass" for cell in cells]
    return np.array(passes).reshape(worse.shape)


RULES: dict[str, Rule] = {
    "naive": naive,
    "McNemar": mcnemar,
    "nel gate": nel_gate,
    "comptrust": comptrust,
}

DROPS: dict[tuple[int, int, int], statistics.Drop] = {}


def drop_of(n: int, worse: int, better: int) -> statistics.Drop:
    """Return the gate's drop, with its bound, if so many answers got worse and better."""
    key = (n, worse, better)
    if key not in DROPS:
        right = np.zeros((2, n))
        right[0, : n - better] = 1
        right[1, worse:] = 1
        dense, candidate = (
            Table(
                ids := np.arange(n).astype(str),
                np.full(n, "task"),
                ids,
                answers.astype(str),
                np.zeros(n),
                values={"correct": answers},
            )
            for answers in right
        )
        dimension = imported.Imported("nemo-evaluator/task/reward")
        drop = statistics.compare(candidate, dense, dimension=dimension)
        assert drop is not None
        DROPS[key] = drop
    return DROPS[key]


def chance(n: int, loss: float, changed: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return counts of worse and better answers as a grid, and the probability of each cell."""
    shares = (loss + changed / 2, changed / 2)
    worse, better = (
        np.arange(*stats.binom.ppf([NEGLIGIBLE, 1 - NEGLIGIBLE], n, p).astype(int) + [0, 1])
        for p in shares
    )
    grid = np.meshgrid(worse, better, indexing="ij")
    same = n - grid[0] - grid[1]
    logs = special.gammaln(n + 1) + special.xlogy(same, 1 - sum(shares)) - special.gammaln(same + 1)
    for counts, share in zip(grid, shares, strict=True):
        logs += special.xlogy(counts, share) - special.gammaln(counts + 1)
    return grid[0], grid[1], np.where(same >= 0, np.exp(logs), 0)


def table(
    title: str, prompts: list[int], margins: list[float], *, losing: bool, changed: float
) -> None:
    """Print the percentage of candidates that each rule passes, as Markdown."""
    print(f"\n{title}\n\n| prompts | {' | '.join(f'margin {points:g}' for points in margins)} |")
    print(f"|---|{'---|' * len(margins)}", flush=True)
    for n in prompts:
        cells = []
        for points in margins:
            worse, better, likely = chance(n, losing * points / 100, changed)
            rates = (
                100 * (likely * rule(n, worse, better, points)).sum() for rule in RULES.values()
            )
            cells.append(" / ".join(f"{abs(rate):.0f}" for rate in rates))
        print(f"| {n:,} | {' | '.join(cells)} |", flush=True)


def rows(n: int, *, wrong: int = 0, start: int = 0) -> list[dict[str, object]]:
    """Return rows of a results.jsonl, of which the first ones are wrong."""
    return [
        {
            "problem_idx": i,
            "prompt": f"What is {start + i} + 1?",
            "expected_answer": str(start + i + 1),
            "reward": float(i >= wrong),
            "model_response": str(start + i + 1 if i >= wrong else 0),
        }
        for i in range(n)
    ]


CASES = {
    "ten equal answers": (rows(10), rows(10)),
    "500 answers to other prompts": (rows(500), rows(500, start=1000)),
    "12 of 500 answered": (rows(500), rows(12)),
}


def write(folder: Path, sides: dict[str, list[dict[str, object]]]) -> dict[str, Path]:
    """Write results as NeMo Evaluator does, so that both gates read the same files."""
    paths = {}
    for side, content in sides.items():
        path = folder / side / "sums"
        path.mkdir(parents=True)
        mean = float(np.mean([row["reward"] for row in content]))
        scores = {"mean_reward": {"value": mean}}
        bundle = {"benchmark": {"name": "sums", "samples": len(content), "scores": scores}}
        (path / "eval-sums.json").write_text(json.dumps(bundle))
        lines = "".join(json.dumps(row) + "\n" for row in content)
        (path / "results.jsonl").write_text(lines)
        paths[side] = folder / side
    return paths


def judged(folder: Path, logs: dict[str, Path]) -> str:
    """Return our verdict on two results files, by way of import and gate."""
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    reader = FORMATS.get("nemo_evaluator")()
    try:
        read = {side: reader.read(path / "sums", cluster=None) for side, path in logs.items()}
        paired = pairing.write(read, out=folder / "out")
    except UserError as error:
        return f"refused: {error}"
    dense, candidate = (str(paired.folders[side]) for side in ("dense", "candidate"))
    return api.judge(candidate, dense, policy=policy).outcome


class Nel:
    """The gate of an installed NeMo Evaluator."""

    def __init__(self, python: str) -> None:
        self.process = subprocess.Popen(
            [python, "-c", JUDGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def verdict(self, logs: dict[str, Path], points: float) -> str:
        """Return GO, NO-GO or INCONCLUSIVE."""
        asked = [str(logs["dense"]), str(logs["candidate"]), points]
        assert self.process.stdin and self.process.stdout
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()


def limits(prompts: list[int], margins: list[float]) -> Iterator[tuple[int, int, int, float]]:
    """Yield the pairs on both sides of where `nel_gate` begins to pass."""
    for n in prompts:
        for points in margins:
            for better in range(0, 1 + n // 50, max(1, n // 200)):
                worse = np.arange(n - better)
                passes = nel_gate(n, worse, np.full_like(worse, better), points)
                for change in np.flatnonzero(np.diff(passes)).tolist():
                    yield from ((n, change + more, better, points) for more in (0, 1))


def check(nel: Nel, prompts: list[int], margins: list[float]) -> None:
    """Compare the restated rule with the package's own gate."""
    pairs, different = 0, []
    for n, worse, better, points in limits(prompts, margins):
        dense, candidate = rows(n, wrong=better), rows(n)
        for row in candidate[n - worse :]:
            row["reward"] = 0.0
        with tempfile.TemporaryDirectory() as folder:
            logs = write(Path(folder), {"dense": dense, "candidate": candidate})
            verdict = nel.verdict(logs, points)
        pairs += 1
        restated = bool(nel_gate(n, np.array(worse), np.array(better), points))
        if (verdict == "GO") != restated:
            different.append((n, worse, better, points, verdict))
    print(f"\nnel gate restated: {pairs} pairs at its limits, {len(different)} judged otherwise")
    print("\n".join(map(str, different)))


def cases(nel: Nel | None) -> None:
    """Print what each gate says of the three cases, with a margin of 1 point."""
    print("\n| case, margin 1 | naive | McNemar | nel gate | comptrust |\n|---|---|---|---|---|")
    for name, (dense, candidate) in CASES.items():
        both = min(len(dense), len(candidate))
        plain = [
            "pass" if rule(both, np.array(0), np.array(0), 1.0) else "open"
            for rule in (naive, mcnemar)
        ]
        with tempfile.TemporaryDirectory() as folder:
            logs = write(Path(folder), {"dense": dense, "candidate": candidate})
            theirs = nel.verdict(logs, 1.0) if nel else "not installed"
            print(f"| {name} | {' | '.join([*plain, theirs, judged(Path(folder), logs)])} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, nargs="+", default=PROMPTS)
    parser.add_argument("--margins", type=float, nargs="+", default=MARGINS)
    parser.add_argument("--nel", metavar="PYTHON")
    asked = parser.parse_args()
    nel = Nel(asked.nel) if asked.nel else None
    print(f"Passes in percent: {' / '.join(RULES)}")
    for losing, changed in ((True, 0.0), (True, CHANGED), (False, CHANGED)):
        loses = "the margin" if losing else "nothing"
        title = f"Loses {loses}; {100 * changed:g}% of the answers change beside that"
        table(title, asked.prompts, asked.margins, losing=losing, changed=changed)
    cases(nel)
    if nel:
        check(nel, asked.prompts, asked.margins)


if __name__ == "__main__":
    sys.exit(main())
