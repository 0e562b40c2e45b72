"""Evaluations: find and read them by reference, with their baseline and sibling versions."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

from comptrust import config
from comptrust.errors import UserError
from comptrust.records import Recipe, Scorecard
from comptrust.tracking import history, metrics, registry, runs, store
from comptrust.trust import control, evaluation
from comptrust.trust.evaluation import Evaluation

SCORES_ONLY = (*evaluation.RECORDS, evaluation.MEASUREMENT)
REMOTE = ("models:/", "runs:/")
Counts = Callable[[Evaluation], bool]
"""Whether an evaluation counts; None stands for all of them."""


def load(ref: str) -> Evaluation:
    """Read the evaluation that a reference names.

    `ref` is `models:/NAME/VERSION`, `runs:/ID`, an evaluation folder or a scorecard file. Raises
    UserError if there is no evaluation or if its files do not belong together.
    """
    if ref.startswith(REMOTE):
        return _read(registry.run_of(ref), ref, (*SCORES_ONLY, control.NAME, "generations"))
    path = Path(ref)
    if path.is_file() and path.name != "scorecard.json":
        return Evaluation(ref=ref, scorecard=config.load_json(path, Scorecard))
    folder = path if path.is_dir() else path.parent
    if not path.exists() or not (folder / "scorecard.json").is_file():
        raise UserError(f"There is no evaluation {ref}. Name a scorecard.json or its folder.")
    return evaluation.load(folder, ref=ref)


def seconds(ref: str, *, prompts: int) -> float | None:
    """Return how long a run took to answer a suite of so many prompts in one go; None if unknown.

    `ref` is as for `load`; only runs keep their times.
    """
    if not ref.startswith(REMOTE):
        return None
    with store.service():
        values = runs.client().get_run(registry.run_of(ref)).data.metrics
    return values.get("time/evaluate") if values.get(runs.PROMPTS) == prompts else None


def dense(
    recipe: Recipe, suite_digest: str, *, counts: Counts | None = None, **tags: str
) -> Evaluation | None:
    """Return the newest evaluation of the recipe's dense source on this suite, None without one.

    Only finished runs with all of `tags` count. Anybody may set those, so `counts` may refuse some.
    """
    tags |= {
        "method": "none",
        "revision": str(recipe.revision),
        "suite_digest": suite_digest,
        "base_model": recipe.base_model,
    }
    query = f"{store.has_tags(tags)} and attributes.status = 'FINISHED'"
    for run in store.search_runs(query, limit=None if counts else 1):
        try:
            evaluated = load(f"runs:/{run.info.run_id}")
        except UserError:
            if counts is None:
                raise
            continue  # anybody's
        if counts is None or counts(evaluated):
            return evaluated
    return None


def model_of(candidate: Evaluation) -> str:
    """Return a candidate's registered name: its version's, or else its base model's; or nothing."""
    if candidate.ref.startswith("models:/"):
        return re.split("[/@]", candidate.ref.removeprefix("models:/"))[0]
    if candidate.checkpoint is None:
        return ""
    recipe = candidate.checkpoint.recipe
    return registry.model_name(recipe.base_model, recipe.revision)


def baseline(
    candidate: Evaluation, *, counts: Counts | None = None, **tags: str
) -> Evaluation | None:
    """Return the evaluation of the candidate's dense source on the same suite, if there is one.

    One that counts comes first, then one by the same engine that saw the same texts.
    """
    if candidate.checkpoint is None:
        return None
    recipe, suite = candidate.checkpoint.recipe, candidate.scorecard.suite_digest
    engine, texts = metrics.engine(candidate.scorecard), candidate.scorecard.rendering_digest
    return (
        dense(recipe, suite, counts=counts, engine=engine, rendering_digest=texts, **tags)
        or dense(recipe, suite, counts=counts, engine=engine, **tags)
        or dense(recipe, suite, counts=counts, **tags)
        or (dense(recipe, suite, counts=None, **tags) if counts else None)
    )


def siblings(candidate: Evaluation, *, counts: Counts | None = None) -> tuple[Evaluation, ...]:
    """Return the scores of the other compressed versions of a candidate's base model.

    Of each checkpoint the newest that `counts` is taken, else the newest. Anybody may set tags, or
    log files that cannot be read. A candidate without a run or a checkpoint record has none.
    """
    checkpoint = candidate.checkpoint
    if checkpoint is None or not candidate.ref.startswith(REMOTE):
        return ()
    name = registry.model_name(checkpoint.recipe.base_model, checkpoint.recipe.revision)
    newest: dict[str, Evaluation] = {}
    for version in registry.versions(name):
        sibling = None
        with contextlib.suppress(UserError):
            sibling = _find(version.run_id, version.ref, SCORES_ONLY) if version.run_id else None
        if sibling and sibling.recipe and sibling.recipe.method != "none":
            digest = sibling.scorecard.checkpoint_digest
            if digest not in newest or counts is None or counts(sibling):
                newest[digest] = sibling
    newest.pop(candidate.scorecard.checkpoint_digest, None)
    return tuple(newest.values())


def blocked(candidate: Evaluation) -> tuple[Evaluation, ...]:
    """Return the other evaluations of the candidate's bytes whose verdict, that guards, is a block.

    Of an evaluation that was replaced in its run since, no answers are known.
    """
    if not candidate.ref.startswith(REMOTE):
        return ()
    own, digest = registry.run_of(candidate.ref), candidate.scorecard.checkpoint_digest
    found = store.search_runs(store.has_tags({"checkpoint_digest": digest}))
    run_ids = dict.fromkeys([own, *(run.info.run_id for run in found)])
    blocks = {(run_id, card): None for run_id in run_ids for card in _blocked(run_id, digest)}
    for name in candidate.scorecard.digests:
        blocks.pop((own, name), None)
    return tuple(_as_judged(f"runs:/{run_id}", card, digest) for run_id, card in blocks)


def _as_judged(ref: str, scorecard_digest: str, checkpoint_digest: str) -> Evaluation:
    with contextlib.suppress(UserError):  # somebody made its files unreadable since
        present = load(ref)
        if scorecard_digest in present.scorecard.digests:
            return present
    return evaluation.unknown_answers(ref, checkpoint_digest)


def _blocked(run_id: str, checkpoint_digest: str) -> list[str]:
    return [
        verdict.scorecard_digest
        for verdict in history.verdicts(run_id)
        if verdict.checkpoint_digest == checkpoint_digest
        and verdict.stages
        and verdict.outcome == "block"
    ]


def _read(run_id: str, ref: str, names: tuple[str, ...]) -> Evaluation:
    if found := _find(run_id, ref, names):
        return found
    raise UserError(
        f"{ref} has no scorecard.json: it was never evaluated. Run `comptrust run` for it."
    )


def _find(run_id: str, ref: str, names: tuple[str, ...]) -> Evaluation | None:
    with runs.files(run_id, *names) as folder:
        found = (folder / "scorecard.json").exists()
        return evaluation.load(folder, ref=ref) if found else None
