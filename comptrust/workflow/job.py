"""The shared flow: compress, evaluate the dense model once and the compressed one, validate, log,
judge, register, promote.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import comptrust
from comptrust import config, digests
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.verdict import judge
from comptrust.models import memory, presets
from comptrust.records import Checkpoint, Recipe, Suite, Verdict
from comptrust.report import figures
from comptrust.tracking import evaluations, promotion, registry, runs
from comptrust.trust import evaluation
from comptrust.trust.evaluation import Evaluation
from comptrust.workflow import signatures

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What one `comptrust run` does; everything in it was checked before anything is started."""

    recipe: Recipe
    suite: Suite
    suite_name: str
    policy: Policy
    signer: signatures.Signer
    batch_size: int | None
    promote_to: str | None = None
    out: Path | None = None
    """Where the checkpoint stays; by default the cache."""
    existing: Path | None = None
    """Folder of a model that is compressed already: it is taken over and measured instead."""


@dataclass(frozen=True)
class Result:
    """What came of it."""

    checkpoint: Checkpoint
    candidate: Evaluation
    baseline: Evaluation
    verdict: Verdict
    version: registry.Version
    seconds: float
    signed: signatures.Signed
    decision: promotion.Promotion | None = None


def run(plan: Plan, *, say: Say) -> Result:
    """Carry out a plan as one MLflow run; the registered version is created last."""
    began = time.monotonic()
    runs.client()
    with runs.start(plan.recipe.slug, tags=registry.recipe_tags(plan.recipe)) as own:
        checkpoint = _compress(own, plan, say)
        own.tags(registry.recipe_tags(checkpoint.recipe) | {"code_digest": code_digest()})
        if checkpoint.recipe.method == "none":
            baseline = candidate = _evaluate(own, checkpoint, plan, say)
        else:
            baseline = _dense(checkpoint, plan, say)
            candidate = _evaluate(own, checkpoint, plan, say)
        own.comparison(candidate, baseline, prompts=plan.suite.prompts)
        siblings = evaluations.siblings_of(checkpoint)
        evidence = Evidence(candidate=candidate, baseline=baseline, siblings=siblings)
        verdict = judge(evidence, plan.policy, trusted=plan.signer.trusted)
        own.verdict(verdict)
        figures.log(own.id)
        say("registering the version")
        with own.timed("register"):
            version = registry.register(
                own, checkpoint, candidate.scorecard, folder=Path(checkpoint.path), verdict=verdict
            )
        signed = plan.signer.sign(verdict, evidence, days=plan.policy.valid_days, version=version)
        own.metrics({"time/total": time.monotonic() - began, **memory.peak()})
    decision = None
    if plan.promote_to:
        needed = plan.policy.digest
        check = signatures.promotion_check(needed)
        decision = promotion.promote(
            version.name, version.version, to=plan.promote_to, policy_digest=needed, check=check
        )
    return Result(
        checkpoint,
        candidate,
        baseline,
        verdict,
        version,
        time.monotonic() - began,
        signed,
        decision,
    )


def register(plan: Plan, *, say: Say) -> registry.Version:
    """Register a checkpoint without evaluating it: measured sizes, no scores, and so nothing that
    could be gated.
    """
    with runs.start(plan.recipe.slug, tags=registry.recipe_tags(plan.recipe)) as own:
        checkpoint = _compress(own, plan, say)
        own.tags(registry.recipe_tags(checkpoint.recipe) | {"code_digest": code_digest()})
        own.metrics(memory.peak())
        return registry.register(own, checkpoint, None, folder=Path(checkpoint.path))


def local_model(name: str) -> str:
    """Return what a model source can resolve: the name itself, or the folder of a fetched
    `models:/NAME/VERSION`.
    """
    if not name.startswith("models:/"):
        return name
    version = registry.resolve(name)
    into = (
        config.cache_dir()
        / "registry"
        / f"{version.name}-{version.version}-{version.source.rsplit('/', 1)[-1]}"
    )
    into.mkdir(parents=True, exist_ok=True)
    return str(registry.download(version.ref, into=into))


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 of the code that compresses, asks and scores: what it made before is
    reused only while it is the same.
    """
    folder = Path(comptrust.__file__).parent
    parts = ("compression", "models", "trust")
    files = sorted(path for part in parts for path in (folder / part).rglob("*.py"))
    return digests.of_value(
        {str(path.relative_to(folder)): digests.of_file(path) for path in files}
    )


def _compress(own: runs.Run, plan: Plan, say: Say) -> Checkpoint:
    """Write the checkpoint, or reuse the one that an interrupted run of the same recipe and code
    left whole.
    """
    recipe = plan.recipe
    own.recipe(recipe, suite=plan.suite_name)
    with own.timed("compress"):
        checkpoint = compressed(recipe, out=plan.out, say=say, existing=plan.existing)
    own.text("recipe.json", checkpoint.recipe.model_dump_json(indent=2))
    own.resolved(recipe, checkpoint.recipe)
    own.checkpoint(checkpoint)
    _probe(own, checkpoint)
    return checkpoint


def _probe(own: runs.Run, checkpoint: Checkpoint) -> None:
    """Log how well the model predicts a fixed text and, where it is compressed, how far its
    predictions are from the dense source's.
    """
    from comptrust.models import sources
    from comptrust.models.probe import probe

    recipe = checkpoint.recipe
    with own.timed("probe"):
        dense = None if recipe.method == "none" else sources.resolve(recipe.base_model).path
        own.metrics(probe(Path(checkpoint.path), dense))


def compressed(
    recipe: Recipe, *, out: Path | None, say: Say, existing: Path | None = None
) -> Checkpoint:
    """Return the recipe's checkpoint: from `out`, else from the cache if it is there unchanged,
    else newly made.

    `existing` is a folder that somebody else compressed: its copy in the cache is the checkpoint,
    measured and not made.
    """
    from comptrust.compression import checkpoint as files
    from comptrust.compression.existing import adopt
    from comptrust.compression.oneshot import compress
    from comptrust.models import sources

    if out is not None:
        return compress(recipe, out=out, progress=say)
    source = sources.resolve(recipe.base_model)
    made_from = [digests.of_value(files.manifest(existing))] if existing else []
    key = digests.of_value([recipe.digest_of_fields(), source.revision, code_digest(), *made_from])
    name = registry.model_name(recipe.base_model, source.revision)
    folder = config.cache_dir() / "checkpoints" / name / f"{recipe.slug}-{key[:12]}"
    if (folder / files.NAME).exists() and not files.verify(folder):
        say(f"reusing the checkpoint in {folder}")
        return files.load(folder)
    return (
        adopt(recipe, existing, out=folder, progress=say)
        if existing
        else compress(recipe, out=folder, progress=say)
    )


def _dense(checkpoint: Checkpoint, plan: Plan, say: Say) -> Evaluation:
    """Return the dense source's evaluation: the logged one of this suite and code, else a new one
    with its own run.
    """
    recipe = Recipe(
        base_model=checkpoint.recipe.base_model, revision=checkpoint.recipe.revision, method="none"
    )
    logged = evaluations.dense_run(recipe, plan.suite.digest, code_digest=code_digest())
    if logged:
        say(f"dense model: evaluated before on this suite (runs:/{logged}), reused")
        return evaluations.load(f"runs:/{logged}")
    say("dense model: evaluating it once on this suite")
    plan = dataclasses.replace(
        plan, recipe=recipe.model_copy(update={"revision": None}), out=None, existing=None
    )
    with runs.start(
        "dense", adopt=False, tags=registry.recipe_tags(recipe) | {"code_digest": code_digest()}
    ) as own:
        dense = _compress(own, plan, say)
        measured = _evaluate(own, dense, plan, say)
        registry.register(own, dense, measured.scorecard, folder=Path(dense.path))
    return measured


def _evaluate(own: runs.Run, checkpoint: Checkpoint, plan: Plan, say: Say) -> Evaluation:
    """Ask and score; Great Expectations check prompts before asking, answers before scoring, then
    scores; all is logged.
    """
    from comptrust.gate.expectations import generations, prompts, scorecards
    from comptrust.models.backends.hf import Hf
    from comptrust.trust.run import evaluate

    key = digests.of_value([checkpoint.digest, plan.suite.digest, code_digest()])
    folder = config.cache_dir() / "evaluations" / key[:24]
    checks = folder.with_name(f"{folder.name}-validation")
    try:
        prompts.validate(plan.suite.prompts, out=checks)
        with own.timed("evaluate"):
            template = presets.template(checkpoint.recipe.base_model)
            backend = Hf(Path(checkpoint.path), batch_size=plan.batch_size, template=template)
            check = functools.partial(generations.validate, plan.suite.prompts, out=checks)
            measured = evaluate(
                backend, plan.suite, out=folder, checkpoint_digest=checkpoint.digest, check=check
            )
        scorecards.validate([measured.scorecard], out=checks)
    finally:
        if checks.is_dir():
            own.folder(checks, "validation")
    own.evaluation(folder, measured.scorecard)
    return dataclasses.replace(
        evaluation.load(folder, ref=f"runs:/{own.id}"), checkpoint=checkpoint
    )
