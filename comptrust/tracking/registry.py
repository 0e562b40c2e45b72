"""The model registry: one name per base model, one version per recipe, and what a version's run
holds.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust import config
from comptrust.errors import UserError
from comptrust.records import Checkpoint, Recipe, Scorecard, Verdict
from comptrust.tracking import runs
from comptrust.tracking.metrics import scorecard_tags
from comptrust.trust import evaluation
from comptrust.trust.evaluation import Evaluation

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)
SUMMARY = ("scorecard.json", "suite.json", "checkpoint.json")
EVALUATION = (*SUMMARY, "generations")
EVALUATED_BY = "evaluated_by"
"""Version tag: id of the run whose scores, answers and verdict count for the version."""
REQUIREMENTS = ("torch", "transformers", "compressed-tensors", "accelerate")


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    version: str
    run_id: str
    """The run that evaluated it last."""
    source: str
    tags: dict[str, str]

    @property
    def ref(self) -> str:
        """How a user names it."""
        return f"models:/{self.name}/{self.version}"


def model_name(base_model: str, revision: str | None) -> str:
    """Return the registered name of a base model, lower case, without the characters that MLflow
    refuses.

    A folder's name says little, so its digest is added.

    >>> model_name("builtin:smollm2-135m-instruct", None), model_name("Org/Model-7B", None)
    ('smollm2-135m-instruct', 'org--model-7b')
    """
    if base_model.startswith("builtin:"):
        return base_model.removeprefix("builtin:")
    if config.path_of(base_model).is_dir():
        base_model = f"{config.path_of(base_model).resolve().name}-{(revision or '')[:8]}"
    return re.sub(r"[^a-z0-9._-]+", "--", base_model.lower()).strip("-")


def register(
    run: runs.Run,
    checkpoint: Checkpoint,
    scorecard: Scorecard | None,
    *,
    folder: Path,
    verdict: Verdict | None = None,
) -> Version:
    """Create the version, with all tags, as the last step; its files are logged as a model that
    loads as pyfunc.

    Without a scorecard it was not evaluated yet: it is neither gated nor anybody's sibling.

    One recipe and its bytes are one version: where they are registered already, that version is
    told which run evaluated it last.
    """
    import mlflow

    recipe = checkpoint.recipe
    name = model_name(recipe.base_model, recipe.revision)
    tags = recipe_tags(recipe) | {"checkpoint_digest": checkpoint.digest}
    if scorecard is not None:
        tags |= scorecard_tags(scorecard) | {EVALUATED_BY: run.id}
    claims = verdict_tags(verdict) if verdict else {}
    wanted = {key: tags[key] for key in ("recipe", "checkpoint_digest")}
    same = next(
        (version for version in versions(name) if wanted.items() <= version.tags.items()), None
    )
    if same is not None:
        with runs.service():
            for key, value in tags.items():
                run.client.set_model_version_tag(same.name, same.version, key, value)
        if verdict is not None:
            claim(same, verdict)
        return resolve(same.ref)
    pins = [
        f"{package}=={checkpoint.versions[package].split('+')[0]}"
        for package in REQUIREMENTS
        if package in checkpoint.versions
    ]
    with (
        runs.service(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        mlflow.start_run(run_id=run.id, nested=True),
    ):
        logged = mlflow.transformers.log_model(
            transformers_model=str(folder),
            name="model",
            task="llm/v1/chat",
            pip_requirements=pins or list(REQUIREMENTS),
        )
        created = mlflow.register_model(logged.model_uri, name, tags=tags | claims)
    return _version(created)


def verdict_tags(verdict: Verdict) -> dict[str, str]:
    """Return the tags that say how a run or a version was judged."""
    return {"verdict": verdict.outcome, "policy": verdict.policy}


def claim(version: Version, verdict: Verdict) -> None:
    """Tag a version with its verdict; a registry that enforces the gate takes a pass only once it
    is signed, and may refuse it here.
    """
    from mlflow.exceptions import MlflowException

    opened = runs.client()
    with runs.service():
        for key, value in verdict_tags(verdict).items():
            try:
                opened.set_model_version_tag(version.name, version.version, key, value)
            except MlflowException as error:
                if error.error_code != "PERMISSION_DENIED":
                    raise
                log.info(
                    "the registry does not take the tag %s=%s of %s yet: %s",
                    key,
                    value,
                    version.ref,
                    error.message,
                )


def recipe_tags(recipe: Recipe) -> dict[str, str]:
    """Return the tags that describe a recipe; what it does not have is no tag."""
    fields = {
        "method": recipe.method,
        "bits": recipe.bits,
        "structure": recipe.structure,
        "sparsity": recipe.sparsity,
    }
    fields |= {
        "seed": recipe.seed,
        "revision": recipe.revision,
        "recipe": recipe.slug,
        "base_model": recipe.base_model,
    }
    return {key: str(value) for key, value in fields.items() if value is not None}


def resolve(ref: str) -> Version:
    """Return the version that `models:/NAME/VERSION` or `models:/NAME@ALIAS` names. Raises
    UserError if there is none.
    """
    from mlflow.exceptions import MlflowException

    match = re.fullmatch(r"models:/([^/@]+)(?:/([0-9]{1,9})|@(.+))", ref)
    if not match:
        raise UserError(f"'{ref}' is not models:/NAME/VERSION or models:/NAME@ALIAS.")
    name, number, alias = match.groups()
    opened = runs.client()
    try:
        found = (
            opened.get_model_version(name, number)
            if number
            else opened.get_model_version_by_alias(name, alias)
        )
    except MlflowException as error:
        if (
            error.error_code != "RESOURCE_DOES_NOT_EXIST"
            and error.error_code != "INVALID_PARAMETER_VALUE"
        ):
            with runs.service():
                raise
        raise UserError(
            f"The registry has no '{ref}'. Known versions of it: {_known(name)}."
        ) from error
    return _version(found)


def versions(name: str) -> tuple[Version, ...]:
    """Return all versions of a registered model, oldest first."""
    opened = runs.client()
    with runs.service():
        found = list(opened.search_model_versions(f"name='{name}'"))
    return tuple(
        sorted((_version(version) for version in found), key=lambda version: int(version.version))
    )


def dense_run(recipe: Recipe, suite_digest: str, *, code_digest: str | None = None) -> str | None:
    """Return the newest finished run that evaluated the recipe's dense source on this suite (with
    this code, if given).
    """
    terms = {"method": "none", "revision": str(recipe.revision), "suite_digest": suite_digest}
    terms |= {"base_model": recipe.base_model} | (
        {"code_digest": code_digest} if code_digest else {}
    )
    opened = runs.client()
    query = " and ".join(
        [
            *(f"tags.{key} = '{value}'" for key, value in terms.items()),
            "attributes.status = 'FINISHED'",
        ]
    )
    with runs.service():
        experiments = [experiment.experiment_id for experiment in opened.search_experiments()]
        found = opened.search_runs(
            experiments, filter_string=query, max_results=1, order_by=["attributes.start_time DESC"]
        )
    return found[0].info.run_id if found else None


def download(ref: str, *, into: Path) -> Path:
    """Fetch the checkpoint of a version and return its folder."""
    return checkpoint_in(download_all(ref, into=into))


def checkpoint_in(registered: Path) -> Path:
    """Return the checkpoint's folder among a version's files: `model`, unless they are the
    checkpoint alone.
    """
    return registered / "model" if (registered / "model").is_dir() else registered


def download_all(ref: str, *, into: Path) -> Path:
    """Fetch every file of a version, MLmodel and all, and return their folder."""
    from mlflow.artifacts import download_artifacts

    version = resolve(ref)
    into.mkdir(parents=True, exist_ok=True)
    with runs.service():
        return Path(download_artifacts(artifact_uri=version.ref, dst_path=str(into)))


def load_evaluation(ref: str) -> Evaluation:
    """Read an evaluation by `models:/NAME/VERSION`, `runs:/ID` or the path of a scorecard file (or
    its folder).

    Raises UserError if there is none, or if its files do not belong together.
    """
    if not ref.startswith(("models:/", "runs:/")):
        path = Path(ref)
        if path.is_file() and path.name != "scorecard.json":
            return Evaluation(ref=ref, scorecard=_scorecard(path))
        return evaluation.load(path.parent if path.is_file() else path, ref=ref)
    return _read(run_of(ref), ref, EVALUATION)


def run_of(ref: str) -> str:
    """Return the id of the run behind `models:/NAME/VERSION` or `runs:/ID`. Raises UserError for
    anything else.
    """
    if ref.startswith("models:/"):
        return resolve(ref).run_id
    run_id = ref.removeprefix("runs:/").strip("/")
    if not ref.startswith("runs:/") or not re.fullmatch(r"[0-9a-f]{32}", run_id):
        raise UserError(f"'{ref}' is not models:/NAME/VERSION or runs:/ID.")
    return run_id


def siblings(ref: str) -> tuple[Evaluation, ...]:
    """Return the other compressed versions of the same base model, scores only, the newest of each
    checkpoint.
    """
    if not ref.startswith(("models:/", "runs:/")):
        return ()
    own = load_evaluation(ref)
    if own.checkpoint is None:
        return ()
    return siblings_of(own.checkpoint)


def siblings_of(checkpoint: Checkpoint) -> tuple[Evaluation, ...]:
    """Return the compressed versions that stand beside this checkpoint, scores only, the newest of
    each.
    """
    newest: dict[str, Version] = {}
    for version in versions(model_name(checkpoint.recipe.base_model, checkpoint.recipe.revision)):
        if version.tags.get("method") == "none" or "scorecard_digest" not in version.tags:
            continue
        if version.tags.get("checkpoint_digest", checkpoint.digest) != checkpoint.digest:
            newest[version.tags["checkpoint_digest"]] = version
    return tuple(_read(version.run_id, version.ref, SUMMARY) for version in newest.values())


def baseline(candidate: Evaluation) -> Evaluation | None:
    """Return the evaluation of the candidate's dense source on the same suite, if one is logged."""
    if candidate.checkpoint is None:
        return None
    run_id = dense_run(candidate.checkpoint.recipe, candidate.scorecard.suite_digest)
    return None if run_id is None else _read(run_id, f"runs:/{run_id}", EVALUATION)


def _read(run_id: str, ref: str, names: tuple[str, ...]) -> Evaluation:
    with tempfile.TemporaryDirectory() as temporary:
        folder = runs.download(run_id, into=Path(temporary), only=names)
        if not (folder / "scorecard.json").exists():
            raise UserError(
                f"{ref} holds no scorecard.json, so it was never evaluated. Run `comptrust run`"
                " for it."
            )
        return evaluation.load(folder, ref=ref)


def _scorecard(path: Path) -> Scorecard:
    return config.parse(config.read_json(path), Scorecard, where=str(path))


def _known(name: str) -> str:
    return ", ".join(version.version for version in versions(name)) or "none"


def _version(found: ModelVersion) -> Version:
    tags = dict(found.tags or {})
    return Version(
        found.name,
        str(found.version),
        tags.get(EVALUATED_BY) or found.run_id or "",
        found.source or "",
        tags,
    )
