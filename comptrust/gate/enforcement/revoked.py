"""Revoked keys: each is recorded once, by the first server of the log that sees it."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.gate.enforcement import audit, lapse, resting
from comptrust.gate.enforcement.audit_record import written
from comptrust.gate.enforcement.settings import Settings
from comptrust.gate.signing import keys

if TYPE_CHECKING:
    from comptrust.gate.enforcement.guard import Guard

LINE = b'"decision": "revoked"'
"""Part of the line of each revocation, and of no other: inside a text the quotes are escaped."""


class Revocations:
    """Reads which keys `comptrust keys revoke` moved out of the folder of trusted keys."""

    def __init__(self, settings: Settings, guard: "Guard") -> None:
        self._settings, self._guard = settings, guard
        self._recorded: set[tuple[str, float]] = set()

    def record(self) -> None:
        """Record what was revoked meanwhile; a request without any pays a look at the folder."""
        place, log = self._settings.trusted_keys, self._settings.audit_log
        for path in (place / keys.REVOKED).glob(keys.PUBLIC) if place and log else ():
            # The time of the file is that of the command: a key may be trusted and revoked again.
            revoked = path.name.removesuffix(keys.PUBLIC[1:]), path.stat().st_mtime
            if log and revoked not in self._recorded:
                self._record(log, *revoked)
                self._recorded.add(revoked)

    def _record(self, log: Path, key: str, time: float) -> None:
        until = datetime.datetime.fromtimestamp(time, datetime.UTC)
        finding = f"It was trusted until {until:%Y-%m-%d %H:%M:%S} UTC."
        if _is_recorded(log, key, finding):
            return
        rests = resting.by_log(key, log, self._settings.evidence)
        named = "; ".join(f"{one.ref} ({one.where}: {', '.join(one.why)})" for one in rests)
        with (
            self._guard.locked(),
            lapse.by_itself(f"Promotions that rest on it: {len(rests)}. {named}"),
        ):
            if not _is_recorded(log, key, finding):  # another worker may have done it meanwhile
                self._guard.log("", "", "revoke key", key, "revoked", finding)


def _is_recorded(log: Path, key: str, finding: str) -> bool:
    records = audit.records(log, LINE)
    return any(
        record.target == written(key) and record.finding.startswith(finding) for record in records
    )
