"""Import what another harness measured of a dense and a compressed model, as two logged runs."""

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import UserError, unknown
from comptrust.imports import pairing
from comptrust.imports.log import FORMATS, Log
from comptrust.imports.pairing import SIDES, Paired, Scale
from comptrust.records import Checkpoint, Recipe
from comptrust.tracking import registry, runs
from comptrust.trust.evaluation import Evaluation
from comptrust.workflow.measuring import Witness

__all__ = ["Request", "Result", "Scale", "run"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """Two logs of one harness, and what to take from them."""

    harness: str
    logs: Mapping[str, Path]
    """`dense` and `candidate` -> file or folder."""
    out: Path
    cluster: str | None = None
    """Field of a document that related documents share."""
    metrics: Collection[str] = ()
    scales: Mapping[str, Scale] = field(default_factory=dict)
    version: str | None = None
    """The candidate's registered version, models:/NAME/VERSION."""


@dataclass(frozen=True)
class Result:
    """The two evaluations, logged."""

    paired: Paired
    evaluations: Mapping[str, Evaluation]
    """`dense` and `candidate` -> the evaluation, whose reference is its run or version."""


def run(request: Request) -> Result:
    """Read, pair, write, sign and log both evaluations. Raises UserError before anything is logged.

    With a version, both runs belong to registered models: the candidate's, and the dense one that
    it was made from.
    """
    out, witness = request.out, Witness()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder. Choose another --out.")
    models = _models(request.version) if request.version else {}
    logs = {
        side: _read(request.harness, path, request.cluster) for side, path in request.logs.items()
    }
    paired = pairing.write(
        logs,
        out=out,
        metrics=request.metrics,
        scales=request.scales,
        checkpoints={side: checkpoint.digest for side, (_, checkpoint) in models.items()},
    )
    del logs  # as large as both evaluations
    logged: dict[str, Evaluation] = {}
    for side in SIDES:
        folder = paired.folders[side]
        if side in models:
            record = models[side][1].model_dump_json(indent=2)
            digests.write_atomic(folder / "checkpoint.json", record)
        evaluated = witness.sign(folder, None)
        ref = _log(evaluated, folder, request.harness, side, models.get(side), logged.get("dense"))
        logged[side] = replace(evaluated, ref=ref)
    return Result(paired, logged)


def _read(harness: str, path: Path, cluster: str | None) -> Log:
    names = {name.replace("_", "-"): name for name in FORMATS.names()}
    if harness not in names:
        raise unknown("format", harness, names)
    reader = FORMATS.get(names[harness])()
    try:
        log: Log = reader.read(path, cluster=cluster)
    # Readers walk through what other programs wrote, which may have any shape.
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not a log as {harness} writes it: {type(error).__name__}: {error!s:.200}."
        ) from error
    return log


def _log(
    evaluated: Evaluation,
    folder: Path,
    harness: str,
    side: str,
    model: tuple[registry.Version, Checkpoint] | None,
    baseline: Evaluation | None,
) -> str:
    """Log an evaluation and return the reference of its run, or of the candidate's version."""
    tags = {"imported": harness}
    name = f"{harness} {side}"
    if model:
        recipe = model[1].recipe
        tags |= registry.recipe_tags(recipe) | {"code_digest": digests.of_code()}
        name = f"{recipe.slug} by {harness}"
    with runs.start(name, adopt=False, tags=tags) as log:
        if model:
            log.recipe(model[1].recipe, suite=harness)
            log.checkpoint(model[1])
        log.evaluation(folder, evaluated.scorecard)
        if baseline:
            log.comparison(evaluated, baseline)
        if model is None:
            return f"runs:/{log.id}"
        version, checkpoint = model
        registry.register(log, checkpoint, evaluated.scorecard, folder=Path(checkpoint.path))
    return version.ref if side == "candidate" else f"runs:/{log.id}"


def _models(ref: str) -> dict[str, tuple[registry.Version, Checkpoint]]:
    """Return the registered candidate and its registered dense source, with their records."""
    version = registry.resolve(ref)
    candidate = _record(version)
    source = candidate.recipe
    dense = Recipe(base_model=source.base_model, revision=source.revision, method="none")
    for other in registry.versions(version.name):
        if other.tags.get("recipe") == dense.slug:
            record = _record(other)
            if record.recipe.revision == source.revision:
                return {"dense": (other, record), "candidate": (version, candidate)}
    raise UserError(
        f"{ref} was made from {source.base_model}, which is not registered as {version.name}. First"
        f" register it: comptrust register {source.base_model} --method none --base"
        f" {source.base_model}"
    )


def _record(version: registry.Version) -> Checkpoint:
    with tempfile.TemporaryDirectory() as temporary:
        folder = runs.download(
            registry.run_of(version.ref), into=Path(temporary), only=["checkpoint.json"]
        )
        path = folder / "checkpoint.json"
        if not path.exists():
            raise UserError(f"{version.ref} has no checkpoint.json, so its files are not known.")
        return config.load_json(path, Checkpoint)
