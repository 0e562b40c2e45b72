"""A finished evaluation, read back from its folder: the records beside generations/*.jsonl."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import UserError, unknown
from comptrust.records import (
    TOO_LONG,
    Checkpoint,
    Generation,
    Recipe,
    Scorecard,
    Scoring,
    SuiteManifest,
)
from comptrust.trust import base, control, scorers, scoring
from comptrust.trust.control import Control
from comptrust.trust.dimensions import dimensions
from comptrust.trust.generations import read_generations
from comptrust.trust.imported import is_name

MEASUREMENT, SEAL = "measurement.json", "seal.json"
"""Signed by the machine that evaluated: what was measured, and the bar from before."""
RECORDS = ("scorecard.json", "suite.json", "checkpoint.json", SEAL)
"""The files that a measurement signs, besides the answers."""


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
    control: Control | None = None
    """The positive control of a dense model, if one was made."""
    files: dict[str, str] = field(default_factory=dict)
    """Name -> SHA-256 of the files that a measurement signs, as they were read."""
    signed: dict[str, bytes] = field(default_factory=dict)
    """`measurement.json` and `seal.json` -> content, which nobody has checked yet."""
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

    def fidelity(self, name: str) -> float:
        """Return how much of a drop the classifier that scores a dimension shows, 0-1."""
        return scorers.fidelity(self.suite.scorers.get(name) if self.suite else None)

    def table(self, name: str) -> base.Table | None:
        """Return the judged answers of a dimension, None if they are not available."""
        if name in self.generations and name not in self._tables:
            self._tables[name] = scoring.table(
                self.generations[name], dimension=name, scoring=self.scoring
            )
        return self._tables.get(name)

    def is_beyond(self, name: str) -> bool:
        """Return whether no prompt of a scenario (`mmlu/anatomy`) fits the model's window."""
        dimension, _, scenario = name.partition("/")
        score = self.scorecard.score(dimension)
        if self.suite is None or score is None:
            return False
        asked = self.suite.n_prompts.get(dimension, {}).get(scenario)
        return asked == score.withheld.get(scenario, {}).get(TOO_LONG, 0)

    def without(self, names: Collection[str]) -> Evaluation:
        """Return the evaluation without some scenarios, its dimensions scored from the others."""
        if self.suite is None:
            return self
        suite = self.suite.model_copy(
            update={
                "required": {
                    dimension: tuple(one for one in scenarios if f"{dimension}/{one}" not in names)
                    for dimension, scenarios in self.suite.required.items()
                },
                "n_prompts": {
                    dimension: {
                        one: n for one, n in counts.items() if f"{dimension}/{one}" not in names
                    }
                    for dimension, counts in self.suite.n_prompts.items()
                },
            }
        )
        answers = {
            dimension: [row for row in rows if f"{dimension}/{row.scenario}" not in names]
            for dimension, rows in self.generations.items()
        }
        changed = {name.partition("/")[0] for name in names} & answers.keys()
        scores = {
            dimension: scoring.score(
                answers[dimension], suite=suite, dimensions=[dimension], scoring=self.scoring
            )[0]
            for dimension in changed
        }
        card = self.scorecard.model_copy(
            update={
                "scores": tuple(scores.get(one.dimension, one) for one in self.scorecard.scores)
            }
        )
        return replace(self, scorecard=card, suite=suite, generations=answers)

    def no_signal(self, name: str) -> str:
        """Return why a dense model's answers show no measurable signal; empty if they do."""
        if (table := self.table(name)) is None:
            return ""
        chance = [answer.extra.get("chance") for answer in self.generations[name]]
        return scoring.no_signal(base.get(name, scoring=self.scoring), table, chance)


def load(folder: Path, *, ref: str) -> Evaluation:
    """Read an evaluation folder. Raises UserError for files that are broken or of other ones."""
    card = folder / "scorecard.json"
    scorecard = config.load_json(card, Scorecard)
    generations = {}
    for name, digest in scorecard.generations.items():
        # It becomes part of a path.
        if name not in dimensions() and not is_name(name):
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
    controls = folder / control.NAME
    planted = config.load_json(controls, Control) if controls.exists() else None
    if planted and planted.scorecard_digest not in scorecard.digests:
        raise UserError(
            f"{controls} belongs to another scorecard than {card}. Remove it, and make it again:"
            f" comptrust control {ref}"
        )
    records = [folder / name for name in RECORDS if (folder / name).exists()]
    signed = [folder / name for name in (MEASUREMENT, SEAL) if (folder / name).exists()]
    return Evaluation(
        ref=ref,
        files={
            **{path.name: digests.of_file(path) for path in records},
            **{f"generations/{name}.jsonl": scorecard.generations[name] for name in generations},
        },
        signed={path.name: path.read_bytes() for path in signed},
        scorecard=scorecard,
        suite=config.load_json(suite, SuiteManifest) if suite.exists() else None,
        generations=generations,
        checkpoint=config.load_json(checkpoint, Checkpoint) if checkpoint.exists() else None,
        control=planted,
    )


def unknown_answers(ref: str, checkpoint_digest: str) -> Evaluation:
    """Return an evaluation of which nothing is known but the weights."""
    card = Scorecard(
        checkpoint_digest=checkpoint_digest,
        suite_digest="",
        rendering_digest="",
        generations={},
        scores=(),
        provenance={},
    )
    return Evaluation(ref, card)
