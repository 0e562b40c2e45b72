"""One finished evaluation on disk: scorecard.json, suite.json and generations/<dimension>.jsonl,
read back whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import UserError, unknown
from comptrust.records import Checkpoint, Generation, Recipe, Scorecard, Scoring, SuiteManifest
from comptrust.trust import base, scoring
from comptrust.trust.dimensions import dimensions
from comptrust.trust.generations import read_generations


@dataclass(frozen=True)
class Evaluation:
    """A model's scorecard with the answers behind it, as a rule sees it."""

    ref: str
    """How the user named it: models:/NAME/VERSION, runs:/ID or a file."""
    scorecard: Scorecard
    suite: SuiteManifest | None = None
    generations: dict[str, list[Generation]] = field(default_factory=dict)
    """Dimension -> answers; empty when only the scorecard is at hand."""
    checkpoint: Checkpoint | None = None
    stated_recipe: Recipe | None = None
    """The recipe as a published table states it, where there is no checkpoint to measure."""

    @property
    def recipe(self) -> Recipe | None:
        """How the model was compressed, if that is known."""
        return self.checkpoint.recipe if self.checkpoint else self.stated_recipe

    @property
    def scoring(self) -> Scoring:
        """How the answers are judged and aggregated."""
        return self.suite.scoring if self.suite else "compressed-trust"

    def table(self, name: str) -> base.Table | None:
        """Return the judged answers of one dimension, or None if they are not at hand."""
        if name in self.generations and name not in self._tables:
            self._tables[name] = scoring.table(
                self.generations[name], dimension=name, scoring=self.scoring
            )
        return self._tables.get(name)

    @cached_property
    def _tables(self) -> dict[str, base.Table]:
        return {}


def load(folder: Path, *, ref: str) -> Evaluation:
    """Read an evaluation folder (or a run's artifacts).

    Raises UserError if a file is broken or a generations file is not the one that the scorecard was
    made from.
    """
    card = folder / "scorecard.json"
    scorecard = config.parse(config.read_json(card), Scorecard, where=str(card))
    suite = folder / "suite.json"
    manifest = (
        config.parse(config.read_json(suite), SuiteManifest, where=str(suite))
        if suite.exists()
        else None
    )
    generations = {}
    for name, digest in scorecard.generations.items():
        if name not in dimensions():  # it names a file
            raise UserError(
                f"{card}: field 'generations': {unknown('dimension', name, dimensions())}"
                " Evaluate again."
            )
        path = folder / "generations" / f"{name}.jsonl"
        if not path.exists():
            continue
        if digests.of_file(path) != digest:
            raise UserError(
                f"{path} is not the file that {card} was scored from (SHA-256 differs). Evaluate"
                " again."
            )
        generations[name] = read_generations(path)
    recipe = folder / "checkpoint.json"
    checkpoint = (
        config.parse(config.read_json(recipe), Checkpoint, where=str(recipe))
        if recipe.exists()
        else None
    )
    return Evaluation(
        ref=ref, scorecard=scorecard, suite=manifest, generations=generations, checkpoint=checkpoint
    )
