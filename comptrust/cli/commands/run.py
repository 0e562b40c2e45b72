"""`comptrust run`: the main job, from a recipe to a registered version with a verdict."""

from typing import Any

import click

from comptrust.cli import complete, project
from comptrust.cli.ci_files import ci_options
from comptrust.cli.options import (
    NO_FAIL_HELP,
    compress_options,
    default_option,
    end,
    engine_option,
    evaluate_options,
    file_option,
    json_option,
    policy_option,
    say,
    stop_option,
    text_option,
)
from comptrust.errors import Exit

NOT_RECIPE = (
    "suite", "dimensions", "limit", "scoring", "engine", "dtype", "template", "template_args",
    "batch_size", "policy", "promote_to", "out", "seal", "stop", "verify",
)  # fmt: skip
"""Options that are not part of the recipe."""


@click.command("run")
@compress_options
@engine_option
@evaluate_options
@stop_option
@policy_option
@text_option(
    "--promote-to",
    shell_complete=complete.fixed("staging", "production", "demo"),
    help="staging, production or demo: promote if the verdict passes  [default: do not promote].",
)
@file_option("--out", help="Folder of the checkpoint  [default: in the cache].")
# With an optional value, because MLflow projects write `--no_fail true`.
@default_option(
    "--no-fail",
    is_flag=False,
    metavar="[true]",
    type=bool,
    flag_value=True,
    default=False,
    help=NO_FAIL_HELP,
)
@ci_options
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
    from comptrust.cli import ci_files, jobs
    from comptrust.compression import recipe
    from comptrust.workflow import job

    files = {name: options.pop(name) for name in ("junit", "markdown", "show_texts")}
    job_options = {name: options.pop(name) for name in NOT_RECIPE}
    if job_options["promote_to"] and project.gave("policy"):
        say(f"--promote-to does not use the policy of {project.NAME}; name one with --policy")
        job_options["policy"] = None
    built = recipe.build(server=options.pop("for"), **options)
    result = job.run(jobs.job(built, **job_options), say=say)
    ci_files.write(result.verdict, result.candidate, result.baseline, **files)
    jobs.show(result, as_json=as_json)
    if not no_fail:
        end(Exit.of(result.decision.outcome if result.decision else result.verdict.outcome))
