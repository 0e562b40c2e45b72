"""The main job: compress, evaluate, validate, log, judge, register, promote; dense only once."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from comptrust import config, digests
from comptrust.gate import pins
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.verdict import judge
from comptrust.models import memory, precision, presets
from comptrust.models.own_template import Arguments
from comptrust.models.probe import InMemory
from comptrust.models.sources import Source
from comptrust.records import CHOSEN, Checkpoint, Dtype, Recipe, Suite
from comptrust.report import page
from comptrust.serving_cost import ServingCosts
from comptrust.tracking import datasets, evaluations, metrics, promotion, registry, runs
from comptrust.tracking import serving_cost as costs
from comptrust.trust import evaluation
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.limit import shown
from comptrust.workflow import baselines, checkpoints, measuring, promotable, recording, signatures

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
    dtype: Dtype = "auto"
    """Numbers that the models compute their answers in."""
    template: str | None = None
    """Chat format; by default the preset's, else the model's own."""
    template_args: Arguments = field(default_factory=dict)
    """Arguments of the model's own chat template."""
    batch_size: int | None = None
    promote_to: str | None = None
    out: Path | None = None
    """Folder of the checkpoint; in the cache by default."""
    existing: Source | None = None
    """A model that is compressed already: it is taken over and measured instead."""
    seal: Path | None = None
    """Seal under which the models are evaluated."""
    chosen: str | None = None
    """How the recipe was chosen among others, which the verdict says."""


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
        # The candidate answers while compression still has it in memory, then makes room for the
        # dense model.
        baseline = candidate = _evaluate(log, checkpoint, job, models, say)
        if checkpoint.recipe.method != "none":
            baseline = _dense(candidate, job, say)
            costs.add_dense(log, baseline.ref)
        drops = log.comparison(candidate, baseline, prompts=job.suite.prompts)
        evidence = Evidence(
            candidate,
            baseline,
            evaluations.siblings(candidate, counts=job.signer.counts(job.policy)),
            signatures.blocked(candidate, job.signer.trusted),
            model=evaluations.model_of(candidate),
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
        log.metrics(models.probe(checkpoint))
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
    say("dense model: evaluating it once on this suite")
    job = dataclasses.replace(job, recipe=recipe, out=None, existing=None, chosen=None)
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
    """Let the checkpoint answer, validate each step with Great Expectations, and log everything."""
    from comptrust.gate.expectations import frames
    from comptrust.models.backends.hf import Hf
    from comptrust.trust.run import evaluate

    path = Path(checkpoint.path)
    chosen = {CHOSEN: job.chosen} if job.chosen else {}
    log.read(datasets.suite(job.suite, spec=job.suite_name), context="evaluation")
    witness = measuring.Witness(job.signer.key, job.seal)
    asked: list[object] = [
        job.suite.digest,
        digests.of_code(),
        job.dtype,
        job.template,
        dict(job.template_args),
    ]
    asked += [job.chosen] if job.chosen else []
    key = digests.of_value([checkpoint.digest, *asked])
    folder = config.cache_dir() / "evaluations" / key[:24]
    checks = folder.with_name(f"{folder.name}-validation")
    ledger = witness.ledger(job.suite, out=folder)
    is_new = not (folder / "owner.json").exists()
    try:
        frames.validate_prompts(job.suite.prompts, out=checks)
        with log.timed("evaluate"):
            backend = Hf(
                path,
                batch_size=job.batch_size,
                template=job.template or presets.template(checkpoint.recipe.base_model),
                template_args=job.template_args,
                loaded=models.take(checkpoint, dtype=job.dtype),
            )
            check = functools.partial(frames.validate_generations, job.suite.prompts, out=checks)
            measured = evaluate(
                backend,
                job.suite,
                out=folder,
                checkpoint_digest=checkpoint.digest,
                facts={"weights": precision.weights(path)} | chosen,
                dense=checkpoint.recipe.method == "none",
                check=check,
                ledger=ledger,
                say=say,
            )
        if is_new:  # else the time is not that of all prompts
            log.metrics({runs.PROMPTS: len(job.suite.prompts)})
        frames.validate_scorecards([measured.scorecard], out=checks)
        cost = measuring.serving_cost(backend, folder, say=say)
    finally:
        if checks.is_dir():
            log.folder(checks, "validation")
    # The same bytes as those that are logged, as they are signed.
    digests.write_atomic(folder / "checkpoint.json", checkpoint.model_dump_json(indent=2))
    witness.sign(folder, ledger)
    log.evaluation(folder, measured.scorecard)
    costs.log(log, cost)
    return evaluation.load(folder, ref=f"runs:/{log.id}")
