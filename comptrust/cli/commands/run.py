"""`comptrust run`: the main job, from a recipe to a registered version with a verdict."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from comptrust import config
from comptrust.cli.options import (
    NO_FAIL_HELP,
    TEXT,
    compress_options,
    end,
    evaluate_options,
    json_option,
    policy_option,
    say,
)
from comptrust.errors import Exit, UserError, unknown

NOT_RECIPE = (
    "suite",
    "dimensions",
    "limit",
    "scoring",
    "dtype",
    "batch_size",
    "policy",
    "promote_to",
    "out",
    "seal",
    "verify",
)
"""Options that are not part of the recipe."""


def _defaults(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        options = {str(option.name) for option in ctx.command.params if option is not param}
        ctx.default_map = read_recipe(value, options)


def read_recipe(name: str, options: Collection[str]) -> dict[str, object]:
    """Read a shipped recipe or a YAML file.

    Raises UserError naming the file and the key that is not an option.
    """
    path = config.shipped_or_file(name, kind="recipe")
    data = config.read_yaml(path)
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold 'option: value' lines.")
    for key in data:
        if key not in options:
            raise unknown(f"option in {path}:", key, options)
    return {key: value for key, value in data.items() if value is not None}


@click.command("run")
@click.option(
    "--recipe",
    is_eager=True,
    expose_value=False,
    callback=_defaults,
    help="Shipped recipe or YAML file that sets the options below; options given here override it.",
)
@compress_options
@evaluate_options
@policy_option
@click.option(
    "--promote-to",
    type=TEXT,
    help="staging, production or demo: promote if the verdict passes  [default: do not promote].",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the checkpoint  [default: in the cache].",
)
# With an optional value, because MLflow projects write `--no_fail true`.
@click.option(
    "--no-fail",
    is_flag=False,
    metavar="[true]",
    type=bool,
    flag_value=True,
    default=False,
    help=NO_FAIL_HELP,
)
@json_option
def command(no_fail: bool, as_json: bool, **options: Any) -> None:
    """Compress, evaluate, judge and register a model.

    Its dense source is evaluated as well, once per suite; later runs reuse the result. Run the same
    command again to continue after an interruption.

    Exit 0 if the verdict passes, 1 if it blocks, 3 if it is inconclusive.

    \b
    Example:
      comptrust run --method gptq --bits 4
    """
    from comptrust.cli import jobs
    from comptrust.compression import recipe
    from comptrust.tracking import registry
    from comptrust.workflow import job

    job_options = {name: options.pop(name) for name in NOT_RECIPE}
    options["model"] = registry.local_model(options["model"])
    result = job.run(jobs.job(recipe.build(**options), **job_options), say=say)
    jobs.show(result, as_json=as_json)
    if not no_fail:
        end(Exit.of(result.decision.outcome if result.decision else result.verdict.outcome))
