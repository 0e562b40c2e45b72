"""`comptrust sweep`: a grid of models, methods, rates and seeds, cell by cell; run again to go on
after any interruption.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

import click

from comptrust.cli.options import TEXT, json_option
from comptrust.errors import ServiceError


@click.command("sweep")
@click.argument("sweep")
@click.option(
    "--address",
    default="local",
    show_default=True,
    help=(
        "local: this machine, with Ray if it is installed; serial: one cell after another; auto:"
        " the Ray cluster that RAY_ADDRESS names or that runs on this machine; ray://HOST:PORT: one"
        " elsewhere."
    ),
)
@click.option(
    "--artifacts",
    type=TEXT,
    envvar="COMPTRUST_ARTIFACT_URI",
    help="Where runs keep their files, such as s3://BUCKET/PATH.",
)
@click.option(
    "--cache",
    type=TEXT,
    envvar="COMPTRUST_CACHE",
    help="Folder of models and checkpoints, best shared by all machines.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the cells with estimated time and disk, and start nothing.",
)
@json_option
def command(
    sweep: str, address: str, artifacts: str | None, cache: str | None, dry_run: bool, as_json: bool
) -> None:
    """Expand SWEEP, a shipped sweep or a YAML file, and carry out the cells that are not finished
    yet.

    Each cell is one process and one MLflow run below the sweep's run. A finished cell is never done
    again, a failed one is tried again by the next call, and its reason stays on its run.

    Example: comptrust sweep smoke --dry-run
    """
    import os

    from comptrust.sweep import driver, engines, grid, plan, shown
    from comptrust.sweep.view import View

    for name, value in (("COMPTRUST_ARTIFACT_URI", artifacts), ("COMPTRUST_CACHE", cache)):
        if value:
            os.environ[name] = value
    expanded = grid.load(sweep)
    if dry_run:
        planned = plan.build(expanded, work=False)
        click.echo(
            shown.planned(
                planned, plan.done_before(planned), plan.estimates(planned), as_json=as_json
            )
        )
        return
    with redirect_stdout(sys.stderr):  # Ray tells of lost workers and nodes on stdout
        engine = engines.engine(address)
        try:
            planned = plan.build(expanded, work=True)
            view = View(total=len(planned.cells))
            try:
                report = driver.drive(planned, engine, view=view)
            finally:
                view.close()
        except KeyboardInterrupt:
            click.echo(
                "Stopped. What is finished is kept; run the same command to go on.", err=True
            )
            sys.exit(130)
        finally:
            engine.stop()
    click.echo(shown.ended(planned, report, as_json=as_json))
    if report.failed:
        click.echo(
            f"Error: {len(report.failed)} of {len(planned.cells)} cells failed; the others are"
            " kept. Run again to try these again.",
            err=True,
        )
        sys.exit(max(outcome.exit_code for outcome in report.failed) or ServiceError.exit_code)
