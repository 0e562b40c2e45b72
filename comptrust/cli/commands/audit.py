"""`comptrust audit`: show the decisions of the guarded registry and check their record."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comptrust.cli.options import end, file_option, json_option, print_result, text_option
from comptrust.errors import Exit, UserError
from comptrust.text_tables import counted
from comptrust.tracking.store import prepare, shown_uri, tracking_uri

if TYPE_CHECKING:
    from comptrust.gate.enforcement.audit_record import AuditRecord

WORD = re.compile(r"[\w.@:/=*+-]+", re.ASCII)
"""A name that is shown as it is."""


@click.command("audit")
@file_option("--log", help="Audit log  [default: COMPTRUST_AUDIT_LOG, else beside the database].")
@text_option(
    "--registry",
    help="Also compare with this registry: its address or database. What is promoted is checked"
    " again: record, place, files, signed verdict and key  [default: the log alone].",
)
@file_option(
    "--keys",
    "trusted",
    help="With --registry: trusted public keys  [default: COMPTRUST_TRUSTED_KEYS, else the keys"
    " folder].",
)
@file_option(
    "--evidence",
    help="With --registry: the folder of the kept evidence  [default: COMPTRUST_EVIDENCE, else"
    " beside the log].",
)
@click.option(
    "--last",
    type=click.IntRange(min=1),
    help="Show only the last N records; all of them are checked  [default: show all].",
)
@json_option
def command(
    log: Path | None,
    registry: str | None,
    trusted: Path | None,
    evidence: Path | None,
    last: int | None,
    as_json: bool,
) -> None:
    """Show the registry's decisions and check their record.

    Exit 0 if nobody changed the record; 1 if its chain is broken or differs from the registry. Text
    from outside is shown in ASCII: other characters are escaped.

    \b
    Example:
      comptrust audit --registry http://127.0.0.1:5000
    """
    from comptrust.gate.enforcement import audit, replay, settings

    path = log or settings.audit_log(tracking_uri().removeprefix(settings.SCHEME))
    if path is None:
        raise UserError(
            f"{shown_uri()} is not a sqlite file with an audit log beside it. Give --log FILE or"
            " set COMPTRUST_AUDIT_LOG."
        )
    chain = audit.read(path)
    problems = [f"the chain is broken at {chain.problem}"] if chain.problem else []
    notes: tuple[str, ...] = ()
    if registry:
        from comptrust.gate.enforcement.reconcile import differences
        from comptrust.gate.signing import keys

        prepare()
        place = trusted or os.environ.get(settings.KEYS)
        public = keys.load_public_keys(Path(place) if place else None)
        kept = evidence or settings.evidence_of(path)
        different, notes = differences(chain.lines, registry, trusted=public, evidence=kept)
        problems += different
    records = chain.lines[-last:] if last else chain.lines
    promoted = replay.promoted(replay.history(chain.lines)).values()
    emergencies = [_emergency(record) for record in promoted if _is_emergency(record)]
    head = chain.lines[-1].hash if chain.lines else audit.GENESIS_HASH
    fields = {
        "log": str(path),
        "records": len(chain.lines),
        "unfinished": chain.unfinished,
        "head": head,
        "emergencies": emergencies,
        "notes": notes,
        "problems": problems,
        "shown": [line.model_dump(mode="json") for line in records],
    }
    cut = f", {counted(chain.unfinished, 'line')} cut off by a crash" if chain.unfinished else ""
    state = counted(len(problems), "PROBLEM") if problems else "the chain holds"
    lines = [*emergencies, *map(_text, records)]
    lines += (f"NOTE: {escaped(note)}" for note in notes)
    lines += (f"PROBLEM: {escaped(problem)}" for problem in problems)
    lines.append(
        f"{counted(len(chain.lines), 'record')} in {path}{cut}, head {head[:16]}: {state}."
    )
    print_result("\n".join(lines), fields, as_json=as_json)
    end(Exit.BLOCK if problems else Exit.PASS)


def escaped(text: str) -> str:
    r"""Return a text from outside as ASCII on one line, so that it cannot steer the terminal.

    >>> escaped("a\nb \x1b[31m \u202e")
    'a\\nb \\x1b[31m \\u202e'
    """
    return text.encode("unicode_escape").decode("ascii")


def _word(text: str) -> str:
    """Return a name from outside; in quotes if it could be taken for more than one word."""
    return text if WORD.fullmatch(text) else ascii(text)


def _is_emergency(record: AuditRecord) -> bool:
    return bool(record.grant and record.grant.emergency)


def _emergency(record: AuditRecord) -> str:
    from comptrust.gate.signing import emergency

    assert record.grant is not None
    notice = emergency.notice(record.grant.expires, str(record.grant.emergency))
    return (
        f"{escaped(notice)} (models:/{_word(f'{record.model}/{record.version}')},"
        f" {escaped(record.action)} {_word(record.target)}, record {record.number}, key"
        f" {record.grant.key_id})"
    )


def _text(line: AuditRecord) -> str:
    who = _word(line.user or line.address or "unknown")
    version = f"/{line.version}" if line.version else ""
    # The end of a key or a refused experiment is about no model.
    of_model = f", models:/{_word(f'{line.model}{version}')}" if line.model else ""
    return (
        f"{line.number:>5} {line.time:%Y-%m-%d %H:%M:%S} {line.decision:<9} {who}:"
        f" {escaped(line.action)} {_word(line.target)}{of_model}. {escaped(line.finding)}"
    )
