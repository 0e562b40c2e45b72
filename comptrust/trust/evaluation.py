"""A finished evaluation, read back from disk.

Its files are scorecard.json, suite.json, checkpoint.json and generations/<dimension>.jsonl.
"""

from dataclasses import dataclass, field
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import UserError, unknown
from comptrust.records import Checkpoint, Generation, Recipe, Scorecard, Scoring, SuiteManifest
from comptrust.trust import base, scoring, signal
from comptrust.trust.dimensions import dimensions
from comptrust.trust.generations import read_generations


@dataclass(frozen=True)
class Evaluation:
    """A model's scorecard and the answers behind it, as the gate's rules see them."""

    ref: str
    """How the user refers to it: models:/NAME/VERSION, runs:/ID or a file."""
    scorecard: Scorecard
    suite: SuiteManifest | None = None
    generations: dict[str, list[Generation]] = field(default_factory=dict)
    """Dimension -> answers; empty if only the scorecard is available."""
    checkpoint: Checkpoint | None = None
    stated_recipe: Recipe | None = None
    """The recipe stated by a published table, where there is no checkpoint to measure."""
    _tables: dict[str, base.Table] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def recipe(self) -> Recipe | None:
        """How the model was compressed, None if unknown."""
        return self.checkpoint.recipe if self.checkpoint else self.stated_recipe

    @property
    def scoring(self) -> Scoring:
        """The variant of the published scoring."""
        return self.suite.scoring if self.suite else "compressed-trust"

    def table(self, name: str) -> base.Table | None:
        """Return the judged answers of a dimension, None if they are not available."""
        if name in self.generations and name not in self._tables:
            self._tables[name] = scoring.table(
                self.generations[name], dimension=name, scoring=self.scoring
            )
        return self._tables.get(name)

    def no_signal(self, name: str) -> str:
        """Return why a dense model's answers show no measurable signal; empty if they do."""
        if (table := self.table(name)) is None:
            return ""
        chance = [answer.extra.get("chance") for answer in self.generations[name]]
        return signal.missing(base.get(name, scoring=self.scoring), table, chance)


def load(folder: Path, *, ref: str) -> Evaluation:
    """Read an evaluation folder (or a run's artifacts).

    Raises UserError if a file is broken or if the scorecard was made from other generations.
    """
    card = folder / "scorecard.json"
    scorecard = config.load_json(card, Scorecard)
    generations = {}
    for name, digest in scorecard.generations.items():
        if name not in dimensions():  # it becomes part of a path
            raise UserError(
                f"{card}: field 'generations': {unknown('dimension', name, dimensions())}"
                " Evaluate again."
            )
        path = folder / "generations" / f"{name}.jsonl"
        if path.exists():
            if digests.of_file(path) != digest:
                raise UserError(
                    f"{path} has changed since {card} was scored from it (SHA-256 differs)."
                    " Evaluate again."
                )
            generations[name] = list(read_generations(path))
    suite, checkpoint = folder / "suite.json", folder / "checkpoint.json"
    return Evaluation(
        ref=ref,
        scorecard=scorecard,
        suite=config.load_json(suite, SuiteManifest) if suite.exists() else None,
        generations=generations,
        checkpoint=config.load_json(checkpoint, Checkpoint) if checkpoint.exists() else None,
    )
