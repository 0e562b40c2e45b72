"""`comptrust sweep`: run a grid of models, methods, rates and seeds, cell by cell."""

import os
import sys
from contextlib import closing, redirect_stdout

import click

from comptrust.cli import complete
from comptrust.cli.options import default_option, end, json_option, text_option
from comptrust.errors import Exit
from comptrust.text_tables import counted


@click.command("sweep")
@click.argument("sweep", shell_complete=complete.names("sweeps", files=True))
@default_option(
    "--address",
    default="local",
    help="local: this machine, with Ray if it is installed; serial: one cell at a time; auto: the"
    " Ray cluster that RAY_ADDRESS names or that runs on this machine; ray://HOST:PORT: another"
    " Ray cluster; slurm: a Slurm job for each cell.",
)
@text_option(
    "--artifacts",
    envvar="COMPTRUST_ARTIFACT_URI",
    help="Where runs keep their files, such as s3://BUCKET/PATH  [default: the tracking store's].",
)
@text_option(
    "--cache",
    envvar="COMPTRUST_CACHE",
    help="Folder of models and checkpoints, best shared by all machines  [default: in ~/.cache].",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the cells with estimated time and disk space, and start nothing.",
)
@json_option
def command(
    sweep: str, address: str, artifacts: str | None, cache: str | None, dry_run: bool, as_json: bool
) -> None:
    """Run a grid of models, methods, rates and seeds.

    SWEEP is the name of a shipped sweep or a YAML file. Each cell of the grid is one process and
    one MLflow run below the sweep's run. Run the same command again to continue after an
    interruption: finished cells are kept, and failed ones are tried again. The reason of a failure
    is on the cell's run.

    \b
    Example:
      comptrust sweep smoke --dry-run
    """
    from comptrust.sweep import engines, grid, output, plan
    from comptrust.sweep.driver import Driver

    for name, value in (("COMPTRUST_ARTIFACT_URI", artifacts), ("COMPTRUST_CACHE", cache)):
        if value:
            os.environ[name] = value
    cells = grid.load(sweep)
    if dry_run:
        click.echo(output.of_plan(plan.build(cells, work=False), as_json=as_json))
        return
    try:
        # Ray reports lost workers and nodes on stdout.
        with redirect_stdout(sys.stderr), closing(engines.engine(address)) as engine:
            planned = plan.build(cells, work=True)
            driver = Driver(planned, engine)
            driver.drive()
    except KeyboardInterrupt:
        click.echo(
            "Stopped. Finished cells have been kept; run the same command to continue.", err=True
        )
        end(Exit.INTERRUPTED)
    run, seconds = driver.parent.id, driver.seconds
    text = output.of_result(planned, driver.outcomes, run=run, seconds=seconds, as_json=as_json)
    click.echo(text)
    if driver.failed:
        click.echo(
            f"Error: {len(driver.failed)} of {counted(len(planned.cells), 'cell')} failed; finished"
            " ones have been kept. Run the same command again to retry the failed ones.",
            err=True,
        )
        end(Exit(max(outcome.exit_code for outcome in driver.failed) or Exit.FAILURE))
