"""The model registry: one name per base model, one version per recipe and its bytes."""

import contextlib
import datetime
import io
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comptrust import config
from comptrust.errors import UserError, show
from comptrust.records import DENSE_BITS, Checkpoint, Recipe, Scorecard, Verdict
from comptrust.tracking import runs
from comptrust.tracking.metrics import verdict_tags

log = logging.getLogger(__name__)
EVALUATED_BY = "evaluated_by"
"""Version tag: id of the run whose scores, answers and verdict count for the version."""
LAYER_BITS = "layer_bits"
"""Tag of a mixed recipe's runs and versions: the bits of its layers."""
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
    def model_id(self) -> str | None:
        """Id of the logged model that it was made from; None if it was made from other files."""
        found = re.fullmatch(r"models:/(m-[0-9a-f]+)", self.source)
        return found[1] if found else None

    @property
    def ref(self) -> str:
        """The reference that users type."""
        return f"models:/{self.name}/{self.version}"


def model_name(base_model: str, revision: str | None) -> str:
    """Return the registered name of a base model: lower case, only characters MLflow accepts.

    The name of a folder is not unique, so the start of its digest is added.

    >>> model_name("builtin:smollm2-135m-instruct", None), model_name("Org/Model-7B", None)
    ('smollm2-135m-instruct', 'org--model-7b')
    """
    if base_model.startswith("builtin:"):
        return base_model.removeprefix("builtin:")
    path = config.path_of(base_model)
    if path.exists():
        base_model = f"{path.resolve().name}-{(revision or '')[:8]}"
    return re.sub(r"[^a-z0-9._-]+", "--", base_model.lower()).strip("-")


def register(
    run: runs.Run,
    checkpoint: Checkpoint,
    scorecard: Scorecard | None,
    *,
    folder: Path,
) -> Version:
    """Log a checkpoint as a pyfunc model and create its version, or point that of its bytes here.

    Without a scorecard it was not evaluated: it cannot be gated and is no sibling of others.
    """
    recipe = checkpoint.recipe
    name = model_name(recipe.base_model, recipe.revision)
    for version in versions(name):
        if (
            version.tags.get("recipe") == recipe.slug
            and checkpoint_digest(version) == checkpoint.digest
        ):
            if scorecard is not None:
                with runs.service():
                    runs.client().set_model_version_tag(
                        version.name, version.version, EVALUATED_BY, run.id
                    )
            return resolve(version.ref)
    return _create(run, checkpoint, folder=folder, name=name, tags=version_tags(checkpoint))


@runs.service()
def checkpoint_digest(version: Version) -> str | None:
    """Return the digest of a version's checkpoint: older versions have it as a tag."""
    digest = version.tags.get("checkpoint_digest")
    if digest is None and version.run_id:
        digest = runs.client().get_run(version.run_id).data.tags.get("checkpoint_digest")
    return digest


def _create(
    run: runs.Run, checkpoint: Checkpoint, *, folder: Path, name: str, tags: dict[str, str]
) -> Version:
    import mlflow

    # Without the local label: 2.13.0+cpu exists only in the index it was installed from.
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
        model = mlflow.transformers.log_model(
            transformers_model=str(folder),
            name="model",
            task="llm/v1/chat",
            pip_requirements=pins or list(REQUIREMENTS),
        )
        return of_entity(mlflow.register_model(model.model_uri, name, tags=tags))


@runs.service()
def claim(version: Version, verdict: Verdict, *, until: datetime.datetime | None = None) -> None:
    """Tag a version with its verdict, and until when its signature is valid.

    A registry that enforces the gate accepts the tag of a passing verdict only after the verdict
    was signed; a tag that it refuses is logged and skipped.
    """
    from mlflow.exceptions import MlflowException

    signed = f"{until:%Y-%m-%d %H:%M} UTC" if until else "not signed"
    for key, value in {**verdict_tags(verdict), "signed_until": signed}.items():
        try:
            runs.client().set_model_version_tag(version.name, version.version, key, value)
        except MlflowException as error:
            if error.error_code != "PERMISSION_DENIED":
                raise
            log.info(
                "the registry does not accept tag %s=%s of %s yet: %s",
                key,
                value,
                version.ref,
                error.message,
            )


def version_tags(checkpoint: Checkpoint) -> dict[str, str]:
    """Return what a version shows of its recipe: of a mixed one, the bits per layer too."""
    recipe = checkpoint.recipe
    if not recipe.layer_bits:
        return {"recipe": recipe.slug}
    total = sum(checkpoint.weights_at.values())
    shares = ", ".join(
        f"{'dense' if bits == DENSE_BITS else f'{bits} bits'} {count / total:.1%}"
        for bits, count in checkpoint.weights_at.items()
    )
    return {
        "recipe": recipe.slug,
        LAYER_BITS: recipe.mixture,
        "weights_at": shares,
        "effective_bits": f"{checkpoint.effective_bits:.2f}",
    }


def recipe_tags(recipe: Recipe) -> dict[str, str]:
    """Return the tags of a recipe, without its unset fields."""
    tagged = {"method", "bits", "structure", "sparsity", "seed", "revision", "base_model"}
    fields = {"recipe": recipe.slug} | recipe.model_dump(include=tagged, exclude_none=True)
    fields |= {LAYER_BITS: recipe.mixture[: runs.MAX_VALUE]} if recipe.layer_bits else {}
    return {key: str(value) for key, value in fields.items()}


def resolve(ref: str) -> Version:
    """Return the version of `models:/NAME/VERSION` or `models:/NAME@ALIAS`. Raises UserError."""
    from mlflow.exceptions import MlflowException

    match = re.fullmatch(r"models:/([^/@]+)(?:/([0-9]{1,9})|@(.+))", ref)
    if not match:
        raise UserError(f"'{ref}' is not models:/NAME/VERSION or models:/NAME@ALIAS.")
    name, number, alias = match.groups()
    client = runs.client()
    try:
        return of_entity(
            client.get_model_version(name, number)
            if number
            else client.get_model_version_by_alias(name, alias)
        )
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            with runs.service():
                raise
        existing = ", ".join(version.version for version in versions(name)) or "none"
        raise UserError(f"The registry has no '{ref}'. Existing versions: {existing}.") from error


@runs.service()
def versions(name: str) -> tuple[Version, ...]:
    """Return all versions of a registered model, oldest first."""
    items = runs.client().search_model_versions(f"name='{name}'")
    return tuple(sorted(map(of_entity, items), key=lambda version: int(version.version)))


@runs.service()
def evaluated_in(run_id: str) -> tuple[Version, ...]:
    """Return the versions whose evaluation a run is."""
    search = runs.client().search_model_versions
    queries = (f"run_id='{run_id}'", f"tag.{EVALUATED_BY}='{run_id}'")
    found = {version.ref: version for query in queries for version in map(of_entity, search(query))}
    return tuple(version for version in found.values() if version.run_id == run_id)


def run_of(ref: str) -> str:
    """Return the run's id of `models:/NAME/VERSION` or `runs:/ID`. Raises UserError for others."""
    if ref.startswith("models:/"):
        return resolve(ref).run_id
    run_id = ref.removeprefix("runs:/").strip("/")
    if not ref.startswith("runs:/") or not re.fullmatch(r"[0-9a-f]{32}", run_id):
        raise UserError(f"'{ref}' is not models:/NAME/VERSION or runs:/ID.")
    return run_id


def download(ref: str, *, into: Path) -> Path:
    """Download a version and return the folder of its checkpoint."""
    return checkpoint_in(download_all(ref, into=into))


def download_all(ref: str, *, into: Path) -> Path:
    """Download every file of a version, MLmodel included, and return their folder."""
    from mlflow.artifacts import download_artifacts

    version = resolve(ref)
    into.mkdir(parents=True, exist_ok=True)
    with runs.service():
        return Path(download_artifacts(artifact_uri=version.ref, dst_path=str(into)))


def local_model(name: str) -> str:
    """Return the folder of a `models:/NAME/VERSION`, downloaded if missing; others as given."""
    if not name.startswith("models:/"):
        return name
    version = resolve(name)
    artifact = version.source.rsplit("/", 1)[-1]
    folder = config.cache_dir() / "registry" / f"{version.name}-{version.version}-{artifact}"
    show(folder, name)
    return str(download(version.ref, into=folder))


def checkpoint_in(registered: Path) -> Path:
    """Return the checkpoint's folder among a version's files: `model`, or all of them."""
    return registered / "model" if (registered / "model").is_dir() else registered


def of_entity(item: Any) -> Version:
    """Return our form of MLflow's ModelVersion, whose fields have no types."""
    tags = dict(item.tags or {})
    return Version(
        name=item.name,
        version=str(item.version),
        run_id=tags.get(EVALUATED_BY) or item.run_id or "",
        source=item.source or "",
        tags=tags,
    )
