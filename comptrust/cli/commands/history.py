"""`comptrust history`: every verdict, waiver and promotion of a model's versions."""

import datetime
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from comptrust.cli.options import json_option, print_result
from comptrust.errors import UserError
from comptrust.text_tables import table
from comptrust.tracking.store import tracking_uri

if TYPE_CHECKING:
    from comptrust.tracking.registry import Version


@click.command("history")
@click.argument("ref", metavar="MODEL")
@json_option
def command(ref: str, as_json: bool) -> None:
    """Show what was decided about a model: each verdict, waiver and promotion, by whom and when.

    MODEL is models:/NAME for all its versions, or models:/NAME/VERSION. What a guarded registry
    granted and refused is added from its audit log, if the log is on this machine
    (COMPTRUST_AUDIT_LOG, or beside the database). A signature is proven by comptrust verify, the
    log by comptrust audit; outside the log, the names of users are as their machines gave them.

    \b
    Example:
      comptrust history models:/smollm2-135m-instruct
    """
    from comptrust.report.markup import visible
    from comptrust.tracking import registry

    match = re.fullmatch(r"models:/([^/@]+)", ref)
    versions = registry.versions(match[1]) if match else (registry.resolve(ref),)
    if not versions:
        raise UserError(f"The registry has no version of '{ref}'. See: comptrust list models")
    rows: list[tuple[str, ...]] = [("version", "when (UTC)", "who", "what", "")]
    fields: list[dict[str, Any]] = []
    logged = list(_logged(versions[0].name))
    for version in versions:
        events = [*_events(version), *(one for one in logged if one["ref"] == version.ref)]
        fields += sorted(events, key=lambda event: datetime.datetime.fromisoformat(event["time"]))
    for event in fields:
        policy = f"{event['outcome']} under {event['policy']}" if event["outcome"] else ""
        place = policy or event["place"]
        signed = f", key {event['key_id'][:8]}" if event["key_id"] else ""
        cells = (
            event["ref"].rpartition("/")[2],
            f"{datetime.datetime.fromisoformat(event['time']):%Y-%m-%d %H:%M}",
            f"{event['who']}{signed}",
            f"{event['what']}: {place}" if place else event["what"],
            event["text"],
        )
        rows.append(tuple(visible(cell) for cell in cells))
    text = "\n".join(table(rows)) if fields else f"Nothing was decided about {ref} yet."
    print_result(text, fields, as_json=as_json)


def _events(version: "Version") -> Iterator[dict[str, Any]]:
    from comptrust.tracking import history

    for event in history.of_version(version):
        yield {"ref": version.ref, **event.model_dump(mode="json")}


def _logged(name: str) -> Iterator[dict[str, Any]]:
    """Yield what the audit log says about a model. Raises UserError if it is changed or missing."""
    from comptrust.gate.enforcement import audit, settings

    path = settings.audit_log(tracking_uri().removeprefix(settings.SCHEME))
    if path is None or not (path.exists() or os.environ.get(settings.AUDIT_LOG)):
        return
    chain = audit.read(path)
    if chain.problem:
        raise UserError(f"The audit log {path} is broken at {chain.problem}. Run: comptrust audit")
    for record in chain.lines:
        if record.model == name:
            yield {
                "ref": f"models:/{name}/{record.version}",
                "what": record.decision,
                "time": record.time.isoformat(),
                "who": record.user or record.address or "unknown",
                "text": record.finding,
                "outcome": None,
                "policy": "",
                "key_id": record.grant.key_id if record.grant else "",
                "place": f"{record.action} {record.target}",
                "record": record.number,
            }
