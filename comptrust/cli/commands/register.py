"""`comptrust register`: take over a model that somebody else compressed, with measured sizes, and
evaluate it if asked.
"""

from __future__ import annotations

import json
from typing import Any

import click

from comptrust.cli.options import (
    INTEGER,
    NUMBER,
    TEXT,
    evaluate_options,
    json_option,
    say,
    verify_option,
)


@click.command("register")
@click.argument("target")
@click.option(
    "--base",
    required=True,
    help=(
        "The dense model that it was compressed from: builtin:NAME, a Hugging Face id or a folder."
    ),
)
@click.option("--method", required=True, help="none, magnitude, sparsegpt, wanda, gptq or awq.")
@click.option("--bits", type=INTEGER, help="Bits per weight, held against the files (gptq, awq).")
@click.option("--group-size", default="auto", show_default=True, help="auto: as the files say.")
@click.option(
    "--sparsity",
    type=NUMBER,
    help="Share of weights that are zero, held against the weights (pruning).",
)
@click.option(
    "--structure",
    type=TEXT,
    help="2:4, 4:8, 1:2 or unstructured, held against the weights (pruning).",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed of its calibration, if it is known.",
)
@click.option(
    "--evaluate", is_flag=True, help="Evaluate and judge it too, as `comptrust run` does."
)
@evaluate_options
@click.option(
    "--policy", type=TEXT, help="With --evaluate: name of a shipped policy or path of a YAML file."
)
@verify_option
@json_option
def command(
    target: str,
    base: str,
    evaluate: bool,
    policy: str | None,
    verify: bool,
    as_json: bool,
    suite: str,
    dimensions: str | None,
    limit: int | None,
    scoring: Any,
    batch_size: int | None,
    **stated: Any,
) -> None:
    """Register TARGET, a folder or Hugging Face id of a compressed model, without compressing
    anything.

    The recipe that you state is held against the files, and the model must load and give finite
    logits.

    Example: comptrust register ./llama-2-13b-gptq --method gptq --bits 4 --base
    meta-llama/Llama-2-13b-hf
    """
    from comptrust.cli import summary
    from comptrust.compression import recipe
    from comptrust.gate import policy as policies
    from comptrust.models import sources
    from comptrust.trust import suite as suites
    from comptrust.workflow import job, signatures

    made = recipe.build(model=base, **stated).model_copy(
        update={"calibration": None, "calibration_samples": None, "options": {}}
    )
    chosen = suites.split_dimensions(dimensions)
    request = job.Job(
        recipe=made,
        suite=suites.load(suite, dimensions=chosen, scoring=scoring, limit=limit),
        suite_name=suite,
        policy=policies.load(policy or policies.DEFAULT),
        signer=signatures.Signer.load(),
        batch_size=batch_size,
        existing=sources.resolve(target, verify=verify),
        source=sources.resolve(base, verify=verify),
    )
    if evaluate:
        result = job.run(request, say=say)
        click.echo(summary.as_json(result) if as_json else "\n".join(summary.of_run(result)))
        return
    version = job.register(request, say=say)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "version": version.ref,
                    "run": f"runs:/{version.run_id}",
                    "recipe": version.tags["recipe"],
                }
            )
        )
    else:
        click.echo(
            f"{version.ref}: {version.tags['recipe']}, not evaluated. To judge it, run this again"
            " with --evaluate."
        )
