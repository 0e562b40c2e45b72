"""The main job: compress, evaluate, validate, log, judge, register, promote; dense only once."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from comptrust import digests
from comptrust.errors import ServiceError
from comptrust.gate import pins
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.verdict import judge
from comptrust.models import memory
from comptrust.models.engines import EngineOptions
from comptrust.models.probe import InMemory
from comptrust.models.sources import Source
from comptrust.records import Checkpoint, Recipe, Stop, Suite
from comptrust.report import page
from comptrust.serving_cost import ServingCosts
from comptrust.tracking import datasets, evaluations, metrics, promotion, registry, runs
from comptrust.tracking import serving_cost as costs
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.limit import shown
from comptrust.workflow import (
    baselines,
    checkpoints,
    early,
    promotable,
    recording,
    side,
    signatures,
)

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Job:
    """The input of `run`: everything in it was checked before anything is started."""

    recipe: Recipe
    source: Source
    """The recipe's base model, resolved."""
    suite: Suite
    suite_name: str
    policy: Policy
    signer: signatures.Signer = field(default_factory=signatures.Signer)
    asking: EngineOptions = field(default_factory=EngineOptions)
    """How both models answer; the chat format is by default the preset's, else the model's own."""
    promote_to: str | None = None
    out: Path | None = None
    """Folder of the checkpoint; in the cache by default."""
    existing: Source | None = None
    """A model that is compressed already: it is taken over and measured instead."""
    seal: Path | None = None
    """Seal under which the models are evaluated."""
    chosen: str | None = None
    """How the recipe was chosen among others, which the verdict says."""
    stop: Stop = "full"
    measured: Mapping[str, float] = field(default_factory=dict)
    """Metrics of the checkpoint by the process that put it into the cache; else it is probed."""
    dense_elsewhere: bool = False
    """Another job evaluates the dense model: raise DenseNotReady until it is done."""


class DenseNotReady(ServiceError):
    """The dense model is still being evaluated; the candidate's answers are kept until then."""


@dataclass(frozen=True, kw_only=True)
class JobResult(signatures.Judgment):
    """The output of `run`."""

    checkpoint: Checkpoint
    baseline: Evaluation
    version: registry.Version
    seconds: float
    costs: ServingCosts | None = None
    """What both models cost to serve, if it was measured."""
    decision: promotion.Promotion | None = None
    """None if no promotion was requested."""


def run(job: Job, *, say: Say = lambda line: None) -> JobResult:
    """Carry out a job as one MLflow run; the registered version is created last."""
    start = time.monotonic()
    runs.client()
    part = f"a random sample of suite {job.suite_name} (--limit {shown(job.suite.limit)})"
    asked = part if job.suite.limit else f"suite {job.suite_name}"
    say(f"asking {asked}, judging under policy {job.policy.name}")
    if job.policy.stages and not pins.named(job.suite.manifest(), job.policy.suites):
        say("the policy does not name this suite, so nothing can pass: comptrust suites pin --help")
    with runs.start(job.recipe.slug, tags=registry.recipe_tags(job.recipe)) as log:
        checkpoint, models = _checkpoint(log, job, say)
        if job.stop == "early" and checkpoint.recipe.method != "none":
            candidate, baseline = _both(log, checkpoint, job, models, say)
        else:
            # The candidate answers while compression still has it in memory, then makes room for
            # the dense model.
            baseline = candidate = _evaluate(log, checkpoint, job, models, say)
            if checkpoint.recipe.method != "none":
                baseline = _dense(candidate, job, say)
        if baseline is not candidate:
            costs.add_dense(log, baseline.ref)
        drops = log.comparison(candidate, baseline, prompts=job.suite.prompts)
        evidence = Evidence(
            candidate,
            baseline,
            evaluations.siblings(candidate, counts=job.signer.counts(job.policy)),
            signatures.blocked(candidate, job.signer.trusted),
            model=evaluations.model_of(candidate),
            suite=job.suite,
        )
        verdict = judge(evidence, job.policy, trusted=job.signer.trusted)
        log.verdict(verdict)
        page.log_answers(log.id, candidate, baseline, prompts=job.suite.prompts)
        page.log_version(log.id)
        say("registering the version")
        with log.timed("register"):
            version = registry.register(
                log, checkpoint, candidate.scorecard, folder=Path(checkpoint.path)
            )
        signature = job.signer.sign(verdict, evidence, days=job.policy.valid_days, version=version)
        _log_model(log, version, candidate, job, drops)
        recording.record(log.id, verdict, signature, version)
        log.metrics({"time/total": time.monotonic() - start, **memory.peak()})
    return JobResult(
        checkpoint=checkpoint,
        candidate=candidate,
        baseline=baseline,
        verdict=verdict,
        version=version,
        signature=signature,
        costs=costs.of_run(log.id),
        decision=promotable.promote(
            version.name, version.version, to=job.promote_to, policy=job.policy
        )
        if job.promote_to
        else None,
        seconds=time.monotonic() - start,
    )


def register(job: Job, *, say: Say = lambda line: None) -> registry.Version:
    """Register a checkpoint with its measured sizes, but without an evaluation to judge."""
    with runs.start(job.recipe.slug, tags=registry.recipe_tags(job.recipe)) as log:
        checkpoint, _ = _checkpoint(log, job, say)
        log.metrics(memory.peak())
        return registry.register(log, checkpoint, None, folder=Path(checkpoint.path))


def compress(job: Job, *, say: Say = lambda line: None) -> dict[str, float]:
    """Make a checkpoint in the cache for another process to evaluate, and return its metrics."""
    name = f"{job.recipe.slug} (compress)"
    with runs.start(name, tags=registry.recipe_tags(job.recipe)) as log:
        _checkpoint(log, job, say)
        log.metrics(memory.peak())
        with runs.service():
            logged = runs.client().get_run(log.id).data.metrics
    return {key: value for key, value in logged.items() if key.startswith(("probe/", "time/"))}


def _checkpoint(log: runs.Run, job: Job, say: Say) -> tuple[Checkpoint, InMemory]:
    """Make or reuse the recipe's checkpoint, and log and probe it."""
    models = InMemory(job.source, wants_dense=job.recipe.method != "none")
    log.recipe(job.recipe, suite=job.suite_name)
    with log.timed("compress"):
        checkpoint = checkpoints.get(
            job.recipe, job.source, out=job.out, existing=job.existing, watcher=models, say=say
        )
    log.text("recipe.json", checkpoint.recipe.model_dump_json(indent=2))
    log.resolved(job.recipe, checkpoint.recipe)
    log.read(datasets.calibration(checkpoint.recipe), context="calibration")
    log.checkpoint(checkpoint)
    with log.timed("probe"):
        log.metrics(job.measured or models.probe(checkpoint))
    log.tags(registry.recipe_tags(checkpoint.recipe) | {"code_digest": digests.of_code()})
    return checkpoint, models


def _dense(candidate: Evaluation, job: Job, say: Say) -> Evaluation:
    """Return a logged dense evaluation of these files, suite, code and engine, or make one."""
    assert candidate.recipe is not None
    recipe = Recipe(base_model=candidate.recipe.base_model, method="none")
    resolved = recipe.model_copy(update={"revision": candidate.recipe.revision})
    code, engine = digests.of_code(), metrics.engine(candidate.scorecard)
    reused = baselines.reusable(
        resolved,
        job.suite.digest,
        made=lambda: checkpoints.get(recipe, job.source),
        say=say,
        counts=job.signer.counts(job.policy),
        code_digest=code,
        engine=engine,
        rendering_digest=candidate.scorecard.rendering_digest,
    )
    if reused:
        say(f"dense model: evaluated before on this suite ({reused.ref}), reused")
        return reused
    if job.dense_elsewhere:
        raise DenseNotReady("Its answers are kept; it goes on when its dense model is done.")
    say("dense model: evaluating it once on this suite")
    job = dataclasses.replace(job, recipe=recipe, out=None, existing=None, chosen=None, measured={})
    tags = registry.recipe_tags(resolved) | {"code_digest": code}
    with runs.start("dense", adopt=False, tags=tags) as log:
        dense, models = _checkpoint(log, job, say)
        measured = _evaluate(log, dense, job, models, say)
        version = registry.register(log, dense, measured.scorecard, folder=Path(dense.path))
        _log_model(log, version, measured, job)
    return measured


def _log_model(
    log: runs.Run,
    version: registry.Version,
    measured: Evaluation,
    job: Job,
    drops: Mapping[str, float] = {},
) -> None:
    """Log scores, drops and size on the version's logged model too, where MLflow compares them."""
    if version.model_id is None:
        return
    values = {**metrics.score_metrics(measured.scorecard), **drops}
    if measured.checkpoint:
        values |= metrics.size_metrics(measured.checkpoint)
    read = datasets.suite(job.suite, spec=job.suite_name)
    log.metrics(values, model_id=version.model_id, dataset=read)


def _evaluate(
    log: runs.Run, checkpoint: Checkpoint, job: Job, models: InMemory, say: Say
) -> Evaluation:
    """Let the checkpoint answer every prompt of the suite."""
    with side.asked(checkpoint, job, models, say=say) as model:
        with log.timed("evaluate"):
            for name in job.suite.required:
                model.asking.ask(name)
        return model.finish(log, job.suite, say=say)


def _both(
    log: runs.Run, checkpoint: Checkpoint, job: Job, models: InMemory, say: Say
) -> tuple[Evaluation, Evaluation]:
    """Let the checkpoint and its dense source answer until every dimension is decided."""
    recipe = Recipe(base_model=checkpoint.recipe.base_model, method="none")
    source = checkpoints.get(recipe, job.source, say=say)
    in_memory = InMemory(job.source, wants_dense=False)
    job = dataclasses.replace(job, asking=dataclasses.replace(job.asking, at_once=2))
    with (
        side.asked(checkpoint, job, models, say=say) as candidate,
        side.asked(source, dataclasses.replace(job, chosen=None), in_memory, say=say) as dense,
    ):
        with log.timed("evaluate"):
            part = early.ask(
                candidate.asking,
                dense.asking,
                job.suite,
                job.policy,
                record=checkpoint,
                say=say,
            )
        tags = registry.recipe_tags(source.recipe) | {"code_digest": digests.of_code()}
        with runs.start("dense", adopt=False, tags=tags) as dense_log:
            dense_log.recipe(recipe, suite=job.suite_name)
            dense_log.text("recipe.json", source.recipe.model_dump_json(indent=2))
            dense_log.checkpoint(source)
            baseline = dense.finish(dense_log, part, say=say)
            registry.register(dense_log, source, None, folder=Path(source.path))
        return candidate.finish(log, part, say=say), baseline
