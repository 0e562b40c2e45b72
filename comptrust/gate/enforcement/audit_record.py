"""One line of the audit log: who wanted what, what was decided, and exactly what was granted."""

import datetime
import itertools
import json
import operator
from typing import Any, Literal

from pydantic import (
    AwareDatetime,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from comptrust import digests
from comptrust.gate.enforcement.settings import Level
from comptrust.records import Record

Effect = Literal["granted", "refused", "withdrawn", "failed", "expired", "revoked"]
"""`withdrawn`: a promoted version was taken back. `failed`: recorded, then the database refused.

`expired`: the signature of what is promoted is over. `revoked`: a key is not trusted anymore.
"""
MAX_FIELD_BYTES = 4_000
"""Longest text in a line, in bytes as written; of a longer one the start and its hash are kept."""
SINCE_0_2 = ("level", "grant", "guards")
"""Fields that older lines do not have. Left out when empty, so the hashes of old lines hold."""


def written(text: str) -> str:
    """Return a text as a line holds it: valid Unicode, at most MAX_FIELD_BYTES when escaped.

    >>> written("champion"), len(written("x" * 5000))
    ('champion', 4000)
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    if _size(text) <= MAX_FIELD_BYTES:
        return text
    end = f"... (cut; SHA-256 of all: {digests.of_text(text)})"
    room = MAX_FIELD_BYTES - len(end)
    sizes = itertools.accumulate(_size(character) for character in text[:room])
    return text[: sum(size <= room for size in sizes)] + end


def _size(text: str) -> int:
    return len(json.dumps(text)) - 2


class Grant(Record):
    """Exactly what was granted, so that a later change of it shows."""

    source: str
    """The version's source in the registry."""
    storage: str
    """Where its files are served from."""
    run_id: str
    """The run with the signed verdict."""
    files: str
    """Digest of the version's files as judged: of path -> SHA-256."""
    attestation: str
    """Digest of the fields of the signed verdict."""
    policy: str
    """Digest of the server's policy."""
    key_id: str
    expires: AwareDatetime
    """When the signature ends."""
    evidence: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """Digest of the index of the evidence that the server kept; None in older records."""
    emergency: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """Why it was granted without a passing verdict; then it ends at `expires`."""
    rollback: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """Number of the earlier grant of this place, whose signature counts although it expired."""
    dense: str = Field(default="", exclude_if=operator.not_)
    """Digest of the dense checkpoint that it was compared with; older lines have none."""
    baseline: str = Field(default="", exclude_if=operator.not_)
    """Digest of the fields of that checkpoint's scorecard."""
    older: str = Field(default="", exclude=True)
    """The digest of the signed verdict as earlier versions recorded it."""

    @field_validator("source", "storage", "run_id", "emergency", "dense", "baseline", mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        return written(value) if isinstance(value, str) else value


class Guarded(Record):
    """What the server that wrote a line guards besides the usual stages and aliases."""

    models: tuple[str, ...]
    aliases: tuple[tuple[str, Level], ...]
    policies: tuple[tuple[Level, str, datetime.date | None], ...] = Field(
        default=(), exclude_if=lambda policies: not policies
    )
    """Level, digest of its policy, and until when what was promoted before it is tolerated."""


class AuditFields(Record):
    """What an event and its record have in common."""

    action: str
    """`transition`, `set alias`, `delete version`, ..."""
    model: str
    version: str
    target: str
    """The requested stage, alias, name or tag."""
    decision: Effect
    finding: str
    """The first failing finding, or why it was granted."""
    user: str | None = None
    """The caller's name in the server's basic-auth, or the owner of the process; else None."""
    address: str | None = None
    """The caller's network address; None inside a process."""
    level: Level | None = None
    """The level that a promotion needs."""
    grant: Grant | None = None
    """What a promotion granted."""
    guards: Guarded | None = None

    @model_serializer(mode="wrap")
    def _as_released(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {
            name: value
            for name, value in fields.items()
            if value is not None or name not in SINCE_0_2
        }


class AuditEvent(AuditFields):
    """What is to be recorded. No text in it is too long for a line, whoever sent it."""

    @field_validator("*", mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        return written(value) if isinstance(value, str) else value


class AuditRecord(AuditFields):
    """One line of the log, as read or written."""

    number: int
    time: datetime.datetime
    after: str | None = None
    """SHA-256 of an unfinished line before this one, left by a crash."""
    previous: str
    """Hash of the record before, in the file before if it is the first; zeros at the start."""
    hash: str
    """SHA-256 of all other fields."""

    def true_hash(self) -> str:
        """Return what the hash must be."""
        return digests.of_value(self.model_dump(mode="json", exclude={"hash"}))
