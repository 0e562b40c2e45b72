"""`comptrust leaderboard`: published results beside own runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from comptrust.cli.options import json_option, say


@click.group("leaderboard")
def command() -> None:
    """Bring published results into MLflow.

    Example: comptrust leaderboard import num_sheet.csv
    """


@command.command("import")
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--mapping",
    type=click.Path(path_type=Path),
    help="YAML file that explains model names  [default: the published models'].",
)
@json_option
def import_(table: Path, mapping: Path | None, as_json: bool) -> None:
    """Log each row of TABLE (CSV) as an MLflow run with the tag source=published; rows that are
    there already are left alone.

    Example: comptrust leaderboard import num_sheet.csv
    """
    from comptrust import published
    from comptrust.tracking import published as tracking
    from comptrust.tracking import store

    imported, present = tracking.import_table(published.read(table, mapping=mapping), say=say)
    if as_json:
        click.echo(
            json.dumps(
                {"imported": imported, "present": present, "tracking_uri": store.shown_uri()}
            )
        )
    else:
        click.echo(
            f"{imported} rows imported, {present} were there already. Tracking: {store.shown_uri()}"
        )
