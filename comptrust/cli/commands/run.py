"""`comptrust run`: the main job, from a recipe to a registered version with a verdict."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comptrust.cli.options import TEXT, compress_options, evaluate_options, json_option, say
from comptrust.cli.recipe_file import recipe_option

if TYPE_CHECKING:
    from comptrust.records import Scoring

EXIT = {"pass": 0, "block": 1, "inconclusive": 3}


@click.command("run")
@recipe_option
@compress_options
@evaluate_options
@click.option("--policy", type=TEXT, help="Name of a shipped policy or path of a YAML file.")
@click.option(
    "--promote-to",
    type=TEXT,
    help="staging or production: promote if the verdict passes, else exit 1 or 3.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the checkpoint  [default: in the cache].",
)
@json_option
def command(
    suite: str,
    dimensions: str | None,
    limit: int | None,
    scoring: Scoring,
    batch_size: int | None,
    policy: str | None,
    promote_to: str | None,
    out: Path | None,
    verify: bool,
    as_json: bool,
    **recipe_options: Any,
) -> None:
    """Compress, evaluate the dense model (once) and the compressed one, validate, judge and
    register.

    Example: comptrust run --method gptq --bits 4
    """
    from comptrust.cli import summary
    from comptrust.compression import recipe
    from comptrust.gate import policy as policies
    from comptrust.models import sources
    from comptrust.tracking import promotion
    from comptrust.trust import suite as suites
    from comptrust.workflow import job, models, signatures

    if promote_to:
        promotion.check_target(promote_to)
    recipe_options["model"] = models.local_model(recipe_options["model"])
    chosen = suites.split_dimensions(dimensions)
    request = job.Job(
        recipe=recipe.build(**recipe_options),
        suite=suites.load(suite, dimensions=chosen, scoring=scoring, limit=limit),
        suite_name=suite,
        policy=policies.load(policy or policies.DEFAULT),
        signer=signatures.Signer.load(),
        batch_size=batch_size,
        promote_to=promote_to,
        out=out,
        source=sources.resolve(recipe_options["model"], verify=verify),
    )
    result = job.run(request, say=say)
    if as_json:
        click.echo(summary.as_json(result))
    else:
        click.echo("\n".join(summary.of_run(result)))
    if result.decision:
        sys.exit(EXIT[result.decision.outcome])
