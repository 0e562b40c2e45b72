"""What the log leaves promoted, place by place."""

from collections.abc import Iterable, Mapping, Sequence

from comptrust.gate.enforcement import names
from comptrust.gate.enforcement.audit_record import AuditRecord, written

Place = tuple[str, str, str]
"""`stage`, model, version; or `alias`, model, folded alias."""
ALIAS_ACTIONS = ("set alias", "delete alias")
History = Mapping[Place, Sequence[AuditRecord]]
"""Place -> what was granted there and taken back, in order."""


def history(records: Iterable[AuditRecord]) -> History:
    """Return what happened in each place."""
    changes: dict[Place, list[AuditRecord]] = {}
    for record in records:
        events = changes.setdefault(place(record), [])
        if record.decision in ("granted", "withdrawn"):
            events.append(record)
        elif record.decision == "failed" and events:
            events.pop()  # the database refused what was recorded before
    return changes


def promoted(changes: History) -> dict[Place, AuditRecord]:
    """Return the grant that holds in each place."""
    return {
        place: events[-1]
        for place, events in changes.items()
        if events and events[-1].decision == "granted"
    }


def alias_place(model: str, alias: str) -> Place:
    """Return the place of an alias."""
    return "alias", written(model), names.fold(written(alias))


def stage_place(model: str, version: object) -> Place:
    """Return the place of a version in the stages."""
    return "stage", written(model), str(version)


def place(record: AuditRecord) -> Place:
    """Return which place a record is about."""
    if record.action in ALIAS_ACTIONS:
        return alias_place(record.model, record.target)
    return stage_place(record.model, record.version)


def value(record: AuditRecord) -> str:
    """Return what a record puts in its place: the version of an alias, the stage of a version."""
    return record.version if record.action in ALIAS_ACTIONS else record.target
