"""`comptrust audit`: show the decisions of the guarded registry and check their record."""

from pathlib import Path

import click

from comptrust.cli.options import TEXT, end, json_option, print_result
from comptrust.errors import Exit, UserError
from comptrust.gate.enforcement import audit
from comptrust.tracking.store import shown_uri, tracking_uri


@click.command("audit")
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="Audit log  [default: COMPTRUST_AUDIT_LOG, else beside the database].",
)
@click.option(
    "--registry",
    type=TEXT,
    help="Also list versions that are promoted in this registry without a record in the log.",
)
@click.option(
    "--last",
    type=click.IntRange(min=1),
    help="Show only the last N records; all of them are checked  [default: show all].",
)
@json_option
def command(log: Path | None, registry: str | None, last: int | None, as_json: bool) -> None:
    """Show the registry's decisions and check their record.

    Exit 0 if nobody changed the record; 1 if its chain is broken or a promotion has no record.

    \b
    Example:
      comptrust audit --registry http://127.0.0.1:5000
    """
    from comptrust.gate.enforcement import settings

    path = log or settings.audit_log(tracking_uri().removeprefix(settings.SCHEME))
    if path is None:
        raise UserError(
            f"{shown_uri()} is not a sqlite file with an audit log beside it. Give --log FILE or"
            " set COMPTRUST_AUDIT_LOG."
        )
    chain = audit.read(path)
    problems = [f"the chain is broken at {chain.problem}"] if chain.problem else []
    if registry:
        from comptrust.gate.enforcement.reconcile import unrecorded

        problems += unrecorded(chain.lines, registry)
    records = chain.lines[-last:] if last else chain.lines
    head = chain.lines[-1].hash if chain.lines else audit.GENESIS_HASH
    fields = {
        "log": str(path),
        "records": len(chain.lines),
        "unfinished": chain.unfinished,
        "head": head,
        "problems": problems,
        "shown": [line.model_dump(mode="json") for line in records],
    }
    cut = f", {chain.unfinished} lines cut off by a crash" if chain.unfinished else ""
    state = "PROBLEM: " + "; ".join(problems) if problems else "the chain holds"
    last_line = f"{len(chain.lines)} records in {path}{cut}, head {head[:16]}: {state}."
    print_result("\n".join([*map(_text, records), last_line]), fields, as_json=as_json)
    end(Exit.BLOCK if problems else Exit.PASS)


def _text(line: audit.AuditRecord) -> str:
    who = line.user or line.address or "unknown"
    version = f"/{line.version}" if line.version else ""
    return (
        f"{line.number:>5} {line.time:%Y-%m-%d %H:%M:%S} {line.decision:<9} {who}:"
        f" {line.action} {line.target}, models:/{line.model}{version}. {line.finding}"
    )
