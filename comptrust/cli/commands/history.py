"""`comptrust history`: every verdict, waiver and promotion of a model's versions."""

import re

import click

from comptrust.cli.options import json_option, print_result
from comptrust.errors import UserError
from comptrust.text_tables import table


@click.command("history")
@click.argument("ref", metavar="MODEL")
@json_option
def command(ref: str, as_json: bool) -> None:
    """Show what was decided about a model: each verdict, waiver and promotion, by whom and when.

    MODEL is models:/NAME for all its versions, or models:/NAME/VERSION. A signature is proven by
    comptrust verify, and a promotion on a guarded server by its log (comptrust audit); the names of
    users are as their machines gave them.

    \b
    Example:
      comptrust history models:/smollm2-135m-instruct
    """
    from comptrust.tracking import history, registry

    match = re.fullmatch(r"models:/([^/@]+)", ref)
    versions = registry.versions(match[1]) if match else (registry.resolve(ref),)
    if not versions:
        raise UserError(f"The registry has no version of '{ref}'. See: comptrust list models")
    rows, fields = [("version", "when (UTC)", "who", "what", "")], []
    for version in versions:
        for event in history.of_version(version):
            policy = f"{event.outcome} under {event.policy}" if event.outcome else event.place
            signed = f", key {event.key_id[:8]}" if event.key_id else ""
            when = f"{event.time:%Y-%m-%d %H:%M}"
            what = f"{event.what}: {policy}" if policy else event.what
            rows.append((version.version, when, f"{event.who}{signed}", what, event.text))
            fields.append({"ref": version.ref, **event.model_dump(mode="json")})
    text = "\n".join(table(rows)) if fields else f"Nothing was decided about {ref} yet."
    print_result(text, fields, as_json=as_json)
