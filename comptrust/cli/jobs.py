"""A job on the command line: its options become checked inputs, its result becomes text or JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust import serving_cost
from comptrust.cli import verdicts
from comptrust.cli.options import print_result
from comptrust.records import Checkpoint, Dtype, Limit, Recipe, Scoring, Stop
from comptrust.text_tables import duration
from comptrust.tracking import store

if TYPE_CHECKING:
    from comptrust.models.own_template import Arguments
    from comptrust.workflow.job import Job, JobResult


def job(
    recipe: Recipe,
    *,
    suite: str,
    dimensions: Sequence[str] | None,
    limit: Limit | None,
    scoring: Scoring,
    engine: str,
    dtype: Dtype,
    template: str | None,
    template_args: Arguments,
    batch_size: int | None,
    policy: str | None,
    promote_to: str | None = None,
    out: Path | None = None,
    existing: str | None = None,
    seal: Path | None = None,
    stop: Stop = "full",
    verify: bool = False,
) -> Job:
    """Load the suite, the policy and the keys, and make sure that the dense model can be had.

    `existing` is the folder or Hugging Face id of a model that is already compressed. `verify`
    hashes the models' files even if they are untouched since an earlier run.
    Raises UserError or ServiceError for the first that cannot be used, before any work starts.
    """
    from comptrust.compression import checkpoint, fitting
    from comptrust.gate import planning, stopping
    from comptrust.gate import policy as policies
    from comptrust.models import generation_settings, presets, prompting, sources
    from comptrust.models.engines import EngineOptions
    from comptrust.tracking import promotion, registry
    from comptrust.trust import suite as suites
    from comptrust.workflow.job import Job
    from comptrust.workflow.measuring import Witness

    asking = EngineOptions(
        engine=engine,
        dtype=dtype,
        batch_size=batch_size,
        template=template,
        template_args=template_args,
    )
    asking.check_own(recipe)
    stage = promotion.check_target(promote_to)[0] if promote_to else None
    rules = policies.load(policy or policies.default(suite, stage=stage))
    if stage:
        policies.require_stages(rules, target=f"--promote-to {promote_to}")
    questions = suites.for_run(
        suite, dimensions=dimensions, scoring=scoring, limit=limit, stop=stop
    )
    planning.check(questions, rules)
    Witness(seal=seal).check(questions, stop=stop)
    store.check_folder(store.tracking_uri())
    if out:
        checkpoint.check_free(out)
    fitting.check_texts(recipe)
    # only now is a model fetched or converted
    recipe = recipe.model_copy(update={"base_model": registry.local_model(recipe.base_model)})
    adopted = sources.resolve(existing, verify=verify) if existing else None
    source = sources.resolve(recipe.base_model, verify=verify)
    prompting.check(
        (adopted or source).path,
        questions.prompts,
        template=template or presets.template(recipe.base_model),
        arguments=template_args,
    )
    if adopted and adopted.gguf:
        from comptrust.compression import of_gguf

        of_gguf.check(adopted, source)
    elif adopted:
        from comptrust.compression import existing as taken_over

        recipe = taken_over.named(recipe, adopted.path)
        taken_over.check(recipe, adopted.path, base=source.path)
    else:
        generation_settings.check(source.path)
        fitting.check(recipe, source.path)
    if stop == "early":
        stopping.margins(questions, rules, recipe)
    return Job(
        recipe=recipe,
        suite=questions,
        suite_name=suite,
        policy=rules,
        asking=asking,
        promote_to=promote_to,
        out=out,
        existing=adopted,
        seal=seal,
        stop=stop,
        source=source,
    )


def show(result: JobResult, *, as_json: bool) -> None:
    """Print the result of a run: scores, findings, and where everything is."""
    print_result("\n".join(_lines(result)), _fields(result), as_json=as_json)


def _lines(result: JobResult) -> list[str]:
    from comptrust.report import entries

    checkpoint, decision, version = result.checkpoint, result.decision, result.version
    costs = map(serving_cost.words, serving_cost.of_both(result.costs))
    serving, dense = (", ".join(figures) for figures in costs)
    lines = [
        "",
        f"{version.name}  {checkpoint.recipe.slug}",
        *verdicts.scores(result.candidate.scorecard, result.baseline, result.verdict),
        "",
        *verdicts.findings(result.verdict),
        f"signed:  {result.signature.line}",
        f"size:    {size(checkpoint)}",
        f"serving: {serving}; dense: {dense}",
        f"time:    {duration(result.seconds)}",
        f"where:   {version.ref}, {result.candidate.ref}, {checkpoint.path}",
        f"         tracking: {store.shown_uri()}",
        f"page:    {entries.address(f'models/{version.name}/versions/{version.version}')}",
    ]
    if decision:
        lines.append(f"promote: {decision.ref} {decision.effect}. {decision.reason}")
    return lines


def size(checkpoint: Checkpoint) -> str:
    """Describe the measured size of a checkpoint beside that of its dense source."""
    dense = f"of {checkpoint.dense_bytes / 1e6:.1f} MB dense"
    if checkpoint.bytes == checkpoint.dense_bytes:
        dense = "(as large as the dense model)"
    bits = f"{checkpoint.effective_bits:.2f} bits per compressed weight"
    if checkpoint.recipe.method == "none":
        dense, bits = "(dense)", f"{checkpoint.effective_bits:.2f} bits per weight"
    return f"{checkpoint.bytes / 1e6:.1f} MB {dense}, {bits}, {checkpoint.sparsity:.0%} zeros"


def _fields(result: JobResult) -> dict[str, object]:
    checkpoint = result.checkpoint
    dense = {score.dimension: score.value for score in result.baseline.scorecard.scores}
    suite = result.candidate.suite
    return {
        "version": result.version.ref,
        "run": result.candidate.ref,
        "outcome": result.verdict.outcome,
        "findings": [finding.model_dump(mode="json") for finding in result.verdict.findings],
        "signed": result.signature.brief(),
        "dimensions": {
            score.dimension: {"compressed": score.value, "dense": dense.get(score.dimension)}
            for score in result.candidate.scorecard.scores
        },
        "bytes": checkpoint.bytes,
        "dense_bytes": checkpoint.dense_bytes,
        "effective_bits": checkpoint.effective_bits,
        "sparsity": checkpoint.sparsity,
        "serving": result.costs.model_dump(mode="json") if result.costs else None,
        "prompts": sum(sum(n.values()) for n in suite.n_prompts.values()) if suite else None,
        "seconds": round(result.seconds, 1),
        "promotion": dataclasses.asdict(result.decision) if result.decision else None,
    }
