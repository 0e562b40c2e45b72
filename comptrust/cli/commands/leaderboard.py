"""`comptrust leaderboard`: published results beside your own runs."""

from pathlib import Path

import click

from comptrust.cli.options import json_option, mapping_option, print_result, say
from comptrust.text_tables import counted


@click.group("leaderboard")
def command() -> None:
    """Bring published results into MLflow.

    \b
    Example:
      comptrust leaderboard import num_sheet.csv
    """


@command.command("import")
@click.argument("table", type=click.Path(path_type=Path))
@mapping_option
@json_option
def import_(table: Path, mapping: Path | None, as_json: bool) -> None:
    """Log each row of TABLE (CSV) as an MLflow run with the tag source=published.

    Rows that were imported before are skipped.

    \b
    Example:
      comptrust leaderboard import num_sheet.csv
    """
    from comptrust import published
    from comptrust.tracking import published as tracking
    from comptrust.tracking import store

    imported, present = tracking.import_table(published.read(table, mapping=mapping), say=say)
    uri = store.shown_uri()
    text = (
        f"{counted(imported, 'row')} imported, {present or 'none'} imported before. Tracking: {uri}"
    )
    fields = {"imported": imported, "present": present, "tracking_uri": uri}
    print_result(text, fields, as_json=as_json, indent=None)
