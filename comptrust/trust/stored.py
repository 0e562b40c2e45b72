"""Evaluations of stored answers, without a model; the gate needs `dense: declared` for them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comptrust import __version__, digests
from comptrust.errors import UserError
from comptrust.records import Generation, Prompt, Scorecard, Scoring, SuiteManifest
from comptrust.trust import base, scoring
from comptrust.trust.evaluation import Evaluation, load
from comptrust.trust.generations import read_generations, suite_beside, write_generations

ANSWERED = ("loglik", "margin", "after_prompt", "after_reference", "toxicity", "score")
"""Fields of `extra` that come with an answer, not with its prompt."""


def prompt_of(row: Generation | Prompt) -> list[Any]:
    """Return what an answer shows of its prompt: all that scoring depends on besides the texts."""
    extra = {key: value for key, value in row.extra.items() if key not in ANSWERED}
    return [row.dimension, row.scenario, row.id, row.target, extra]


def keep(
    files: Sequence[Path], *, out: Path, variant: Scoring | None = None, allow_partial: bool = False
) -> Evaluation:
    """Write an evaluation folder made of files of answers, and return it.

    Two such evaluations can be compared if their answers have the same dimensions, scenarios, ids,
    targets and prompt fields in the same order. Raises UserError for a folder that is not empty,
    answers that cannot be read or scored, and files of several suites.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder. Choose another --out.")
    answers: dict[str, list[Generation]] = {}
    for path in files:
        earlier = set(answers)
        for row in read_generations(path):
            if row.dimension in earlier:
                raise UserError(
                    f"{path} holds {row.dimension} answers, and so does an earlier file. Score them"
                    " separately."
                )
            answers.setdefault(row.dimension, []).append(row)
    answers = {name: answers[name] for name in sorted(answers)}  # whatever the order of the files
    manifests = {manifest.digest: manifest for manifest in map(suite_beside, files) if manifest}
    if len(manifests) > 1 or (manifests and None in map(suite_beside, files)):
        raise UserError("The files belong to several suites. Score those of each suite apart.")
    suite = next(iter(manifests.values()), None) or _suite(answers, variant or "compressed-trust")
    if variant and variant != suite.scoring:
        suite = suite.model_copy(update={"scoring": variant})
    scores = scoring.score(
        (row for rows in answers.values() for row in rows),
        suite=suite,
        dimensions=answers,
        scoring=suite.scoring,
        allow_partial=allow_partial,
    )
    written = {
        name: write_generations(out / "generations" / f"{name}.jsonl", rows)
        for name, rows in answers.items()
    }
    card = Scorecard(
        checkpoint_digest=digests.of_value(written),
        suite_digest=suite.digest,
        rendering_digest=suite.digest,
        generations=written,
        scores=scores,
        provenance={"code_version": __version__, "answers": "stored; no model was loaded"},
    )
    digests.write_atomic(out / "suite.json", suite.model_dump_json(indent=2) + "\n")
    digests.write_atomic(out / "scorecard.json", card.model_dump_json(indent=2) + "\n")
    return load(out, ref=str(out / "scorecard.json"))


def _suite(answers: dict[str, list[Generation]], variant: Scoring) -> SuiteManifest:
    asked = [prompt_of(row) for rows in answers.values() for row in rows]
    return SuiteManifest(
        name="stored",
        revision="published scenarios",
        scoring=variant,
        required={name: base.get(name).required for name in answers},
        digest=digests.of_value([variant, asked]),
        n_prompts={name: Counter(row.scenario for row in rows) for name, rows in answers.items()},
    )
