"""`comptrust audit`: show what the guarded registry decided, and check that nobody changed the
record of it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from comptrust.cli.options import TEXT, json_option


@click.command("audit")
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="File of the decisions  [default: COMPTRUST_AUDIT_LOG or beside the database].",
)
@click.option(
    "--registry",
    type=TEXT,
    help="Compare with this registry: what is promoted there without a record here?",
)
@click.option(
    "--last", type=click.IntRange(min=1), help="Show only the last N records; all are checked."
)
@json_option
def command(log: Path | None, registry: str | None, last: int | None, as_json: bool) -> None:
    """Show the decisions and check their chain; exit 1 if it is broken, or if something is promoted
    without a record.

    Example: comptrust audit --registry http://127.0.0.1:5000
    """
    from comptrust.errors import UserError
    from comptrust.gate.enforcement import audit, settings
    from comptrust.tracking.store import tracking_uri

    path = log or settings.audit_log(tracking_uri().removeprefix(settings.SCHEME))
    if path is None:
        raise UserError("Where is the audit log? Give --log FILE or set COMPTRUST_AUDIT_LOG.")
    chain = audit.read(path)
    unrecorded: tuple[str, ...] = ()
    if registry:
        from comptrust.gate.enforcement.reconcile import unrecorded as compare

        unrecorded = compare(chain.lines, registry)
    problems = ([f"broken at {chain.problem}"] if chain.problem else []) + list(unrecorded)
    shown = chain.lines[-last:] if last else chain.lines
    head = chain.lines[-1].hash if chain.lines else audit.GENESIS_HASH
    if as_json:
        records = [line.model_dump(mode="json") for line in shown]
        summary = {
            "log": str(path),
            "records": len(chain.lines),
            "unfinished": chain.unfinished,
            "head": head,
            "problems": problems,
        }
        click.echo(json.dumps(summary | {"shown": records}, indent=2))
    else:
        for line in shown:
            who = line.user or line.address or "unknown"
            what = f"{line.action} {line.target}, models:/{line.model}" + (
                f"/{line.version}" if line.version else ""
            )
            click.echo(
                f"{line.number:>5} {line.time:%Y-%m-%d %H:%M:%S} {line.decision:<9} {who}: {what}."
                f" {line.finding}"
            )
        cut = f", {chain.unfinished} lines cut off by a crash" if chain.unfinished else ""
        state = "the chain holds" if not problems else "NOT in order: " + "; ".join(problems)
        click.echo(f"{len(chain.lines)} records in {path}{cut}, head {head[:16]}: {state}.")
    sys.exit(1 if problems else 0)
