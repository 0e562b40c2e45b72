"""What the log leaves promoted, place by place."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from comptrust.gate.enforcement import names
from comptrust.gate.enforcement.audit_record import AuditRecord, written

Place = tuple[str, str, str]
"""`stage`, model, version; or `alias`, model, folded alias."""
ALIAS_ACTIONS = ("set alias", "delete alias")
DISPLACED = "archived by the transition of version"
"""Begins the finding of what was withdrawn to make room, not for a cause."""
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
    return place_of(record.action, record.model, record.version, record.target)


def place_of(action: str, model: str, version: str, target: str) -> Place:
    """Return which place an action is about."""
    return alias_place(model, target) if action in ALIAS_ACTIONS else stage_place(model, version)


def value(record: AuditRecord) -> str:
    """Return what a record puts in its place: the version of an alias, the stage of a version."""
    return record.version if record.action in ALIAS_ACTIONS else record.target


def former(changes: History, place: Place, wanted: str) -> AuditRecord | None:
    """Return the grant of a value in a place that one may roll back to, if there is one.

    It followed from a verdict that was valid then, and its version was not taken back for a cause
    since. `changes` are those of one model.
    """
    grants = [
        event
        for event in changes.get(place, ())
        if event.decision == "granted" and value(event) == wanted
        if event.grant and not event.grant.emergency and event.grant.rollback is None
    ]
    if not grants or taken_back(changes, grants[-1].version, since=grants[-1].number):
        return None
    return grants[-1]


def before_emergency(changes: History, place: Place) -> AuditRecord | None:
    """Return what was granted in a place before its emergencies and was not taken back since."""
    regular = [
        event for event in changes.get(place, ()) if not (event.grant and event.grant.emergency)
    ]
    last = regular[-1] if regular else None
    if last is None or last.decision != "granted":
        return None
    return None if taken_back(changes, last.version, since=last.number) else last


def taken_back(changes: History, version: str, *, since: int) -> bool:
    """Whether a version was withdrawn for a cause after a record, in whatever place."""
    return any(
        event.decision == "withdrawn"
        and event.version == version
        and event.number > since
        and not event.finding.startswith(DISPLACED)
        for events in changes.values()
        for event in events
    )


def spent(changes: History, place: Place, version: str, digests: Collection[str]) -> bool:
    """Whether an emergency was used and what it opened was replaced or taken back since.

    `digests` are those by which the log may name it.
    """
    uses = [
        event.number
        for events in changes.values()
        for event in events
        if event.grant and event.grant.attestation in digests
    ]
    here = [event.number for event in changes.get(place, ())]
    replaced = any(number in uses for number in here) and here[-1] not in uses
    return replaced or (bool(uses) and taken_back(changes, version, since=min(uses)))
