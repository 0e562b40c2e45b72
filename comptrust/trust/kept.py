"""Kept answers: one line each, written at once, in a folder that names whose they are."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import ServiceError, UserError
from comptrust.records import Generation
from comptrust.trust.ledger import Ledger

OWNER = "owner.json"
"""File of an evaluation's folder: which model, suite and backend its answers are of."""


def claim(out: Path, owner: dict[str, str]) -> None:
    """Write whose answers a folder holds. Raises UserError if they are another's."""
    check_owner(out, owner)
    if not (out / OWNER).exists():
        digests.write_atomic(out / OWNER, json.dumps(owner, indent=2) + "\n")


def check_owner(out: Path, owner: Mapping[str, str]) -> None:
    """Raise UserError if a folder of answers is of another model, suite or backend."""
    path = out / OWNER
    known = config.read_json(path) if path.exists() else owner
    if not isinstance(known, dict) or not owner.items() <= known.items():
        raise UserError(
            f"{out} holds answers of another model, suite or backend. Choose another output folder"
            " or remove this one."
        )


def append(partial: Path, line: str, *, kept: str) -> None:
    """Add a line to a file at once. `kept` says in an error what is there already."""
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "a", encoding="ascii") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise ServiceError(
            f"Cannot write {partial}: {error.strerror}. {kept}; free space and run again to"
            " continue."
        ) from error


def resume(partial: Path, ledger: Ledger) -> Iterator[Generation | None]:
    """Yield the answers of an interrupted run, or None for one that does not count."""
    if not partial.exists():
        return
    try:
        whole, newline, torn = partial.read_bytes().rpartition(b"\n")
        if torn:
            os.truncate(partial, len(whole + newline))
    except OSError as error:
        raise ServiceError(
            f"Cannot read or repair {partial}: {error.strerror}. Make it writable and run again."
        ) from error
    # The user may remove a broken line: its prompt is then answered again.
    for number, line in enumerate(whole.split(b"\n") if newline else [], start=1):
        where = f"{partial}, line {number}"
        text = ledger.unmarked(config.decoded(line, where=where))
        if text is None:
            yield None
            continue
        yield config.parse(config.json_value(text, where=where), Generation, where=where)
