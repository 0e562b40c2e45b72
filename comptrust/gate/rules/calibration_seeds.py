"""Calibration seeds: a heavily compressed model is judged over several calibration draws, and the
worst one counts.

Paper: at extreme compression the result varies with the calibration set, so its table repeats such
rows over three seeds.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from comptrust.gate.base import (
    Evidence,
    Rule,
    comparable,
    differences,
    heavily_compressed,
    points_lost,
)
from comptrust.records import Finding, Recipe
from comptrust.trust.evaluation import Evaluation


class CalibrationSeeds(Rule):
    """Require siblings of other seeds and judge the worst.

    - {rule: calibration_seeds, seeds: 3, points: 5}
    """

    name: ClassVar[str] = "calibration_seeds"

    seeds: int = Field(default=3, ge=2)
    """Different calibration seeds needed, the candidate's own included."""
    points: float = Field(default=5.0, gt=0, lt=100)
    """No seed may drop more than these points in any dimension."""
    bits_at_most: int = 3
    sparsity_at_least: float = 0.5

    def check(self, evidence: Evidence) -> Finding:
        """Find block if any seed drops too far, inconclusive while seeds are lacking."""
        recipe = evidence.recipe
        if recipe is None:
            return self.found(
                "inconclusive",
                "How the candidate was compressed is unknown (no checkpoint.json). Judge its run or"
                " version.",
            )
        if not heavily_compressed(
            recipe, bits_at_most=self.bits_at_most, sparsity_at_least=self.sparsity_at_least
        ):
            return self.found("pass", f"Does not apply to {recipe.slug}.", applies=False)
        if recipe.method == "magnitude":
            return self.found(
                "pass",
                "Does not apply to magnitude pruning, which has no calibration.",
                applies=False,
            )
        if evidence.baseline is None or not comparable(evidence):
            return self.found(
                "inconclusive", "No drop can be told without a comparable dense baseline."
            )
        runs = {recipe.seed: [evidence.candidate]}
        for sibling in evidence.siblings:
            other = sibling.recipe
            if (
                other
                and _but_seed(other) == _but_seed(recipe)
                and not differences(sibling, evidence.candidate)
            ):
                runs.setdefault(other.seed, []).append(sibling)
        worst: dict[int, tuple[str, float]] = {}
        spread: dict[str, list[float]] = {}
        for seed, group in runs.items():
            drops = [drop for one in group for drop in _drops(one, evidence.baseline)]
            if not drops or any(value is None for _, value in drops):
                return self.found(
                    "inconclusive",
                    f"Seed {seed} is not measured in every dimension.",
                    seeds=sorted(runs),
                )
            measured = [(name, value) for name, value in drops if value is not None]
            worst[seed] = max(measured, key=lambda pair: pair[1])
            for name, value in measured:
                spread.setdefault(name, []).append(value)
        shown = {
            "seeds": sorted(runs),
            "worst": {
                str(seed): {"dimension": name, "drop": value}
                for seed, (name, value) in worst.items()
            },
            "spread": {name: max(values) - min(values) for name, values in spread.items()},
        }
        seed, (name, value) = max(worst.items(), key=lambda item: item[1][1])
        if value > self.points:
            return self.found(
                "block",
                f"The worst seed, {seed}, drops {value:.1f} points in {name}; {self.points:g} are"
                " allowed.",
                **shown,
            )
        if len(runs) < self.seeds:
            return self.found(
                "inconclusive",
                f"{len(runs)} of {self.seeds} calibration seeds are evaluated. Run other values of"
                " --seed.",
                **shown,
            )
        return self.found(
            "pass",
            f"The worst of {len(runs)} seeds, {seed}, drops {value:.1f} points in {name}.",
            **shown,
        )


def _but_seed(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"seed": 0, "calibration_digest": None})


def _drops(one: Evaluation, baseline: Evaluation) -> list[tuple[str, float | None]]:
    found: list[tuple[str, float | None]] = []
    for dense in baseline.scorecard.scores:
        mine = one.scorecard.score(dense.dimension)
        value = mine.value if mine is not None else None
        measured = value is not None and dense.value is not None
        drop = points_lost(dense.value, value) if measured else None  # type: ignore[arg-type]
        found.append((dense.dimension, drop))
    return found
