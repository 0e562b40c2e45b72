"""Calibration seeds: a heavily compressed model is judged by the worst of several seeds.

Paper: at extreme compression the result varies with the calibration set, so its table repeats those
rows with three seeds.
"""

from typing import ClassVar

from pydantic import Field

from comptrust.gate.rule import (
    Checkpoint,
    Evidence,
    Finding,
    Recipe,
    Rule,
    change,
    differences,
    heavily_compressed,
    measured,
    points_lost,
)

UNCALIBRATED = ("magnitude", "rtn")
"""Methods that use no calibration texts, so that no seed changes their result."""


class CalibrationSeeds(Rule):
    """Require siblings with other seeds and judge the worst.

    - {rule: calibration_seeds, seeds: 3, points: 5}
    """

    rests_on_scores: ClassVar[bool] = True

    seeds: int = Field(default=3, ge=2)
    """Different calibration seeds needed, including the candidate's own."""
    points: float = Field(default=5.0, gt=0, lt=100)
    """No seed may drop more than this many points in any dimension."""
    bits_at_most: int = 3
    sparsity_at_least: float = 0.5

    def needs_all(self, recipe: Recipe, record: Checkpoint | None = None) -> bool:
        return self._heavy(recipe, record) and recipe.method not in UNCALIBRATED

    def _heavy(self, recipe: Recipe, record: Checkpoint | None) -> bool:
        return heavily_compressed(
            recipe,
            record,
            bits_at_most=self.bits_at_most,
            sparsity_at_least=self.sparsity_at_least,
        )

    def check(self, evidence: Evidence) -> Finding:
        """Block if any seed drops too far; inconclusive while seeds are missing."""
        if (recipe := evidence.recipe) is None:
            return self.unknown_recipe()
        if not self._heavy(recipe, evidence.candidate.checkpoint):
            return self.does_not_apply(recipe.slug)
        if recipe.method in UNCALIBRATED:
            return self.does_not_apply(f"{recipe.method}, which is not calibrated")
        if (baseline := evidence.comparable_baseline) is None:
            return self.inconclusive("Cannot compute a drop: no comparable dense baseline.")
        if evidence.course:
            return self.inconclusive(
                "Cannot compare seeds: the evaluation stopped early. Evaluate each with --stop"
                " full."
            )
        runs = _by_seed(evidence, recipe)
        dense = measured(baseline)
        names = [score.dimension for score in baseline.scorecard.scores]
        drops: dict[int, list[tuple[str, float]]] = {}
        for seed, scores in runs.items():
            complete = all(name in dense.keys() & ours.keys() for ours in scores for name in names)
            if not names or not complete:
                return self.inconclusive(
                    f"Seed {seed} is not measured in every dimension.", seeds=sorted(runs)
                )
            drops[seed] = [
                (name, points_lost(dense[name], ours[name])) for ours in scores for name in names
            ]
        worst = {seed: max(rows, key=lambda drop: drop[1]) for seed, rows in drops.items()}
        values = {
            name: [value for rows in drops.values() for other, value in rows if other == name]
            for name in names
        }
        details = {
            "seeds": sorted(runs),
            "worst": {
                str(seed): {"dimension": name, "drop": value}
                for seed, (name, value) in worst.items()
            },
            "spread": {name: max(values[name]) - min(values[name]) for name in names},
        }
        seed, (name, value) = max(worst.items(), key=lambda item: item[1][1])
        worst_change = f"{change(value)} in {name}"
        if value > self.points:
            return self.finding(
                "block",
                f"The worst seed ({seed}) {worst_change}; the limit is {self.points:g}.",
                **details,
            )
        if len(runs) < self.seeds:
            return self.inconclusive(
                f"Calibration seeds evaluated: {len(runs)} of {self.seeds}. Compress and evaluate"
                " with other seeds.",
                **details,
            )
        return self.finding(
            "pass", f"The worst of {len(runs)} seeds ({seed}) {worst_change}.", **details
        )


def _by_seed(evidence: Evidence, recipe: Recipe) -> dict[int, list[dict[str, float]]]:
    """Return seed -> scores of each model with the candidate's recipe, apart from the seed."""
    runs = {recipe.seed: [measured(evidence.candidate)]}
    for sibling in evidence.siblings:
        theirs = sibling.recipe
        if (
            theirs
            and _without_seed(theirs) == _without_seed(recipe)
            and not differences(sibling, evidence.candidate)
        ):
            runs.setdefault(theirs.seed, []).append(measured(sibling))
    return runs


def _without_seed(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"seed": 0, "calibration_digest": None})
