"""What is promoted and what it rests on, kept in memory so that a request need not read all of it.

The log says when to look again: each change of a guarded stage or alias is in it, under its lock.
"""

import contextlib
import datetime
import json
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModelAlias

from comptrust.errors import UserError
from comptrust.gate.enforcement import audit_files, files, replay
from comptrust.gate.enforcement.audit import REFUSED
from comptrust.gate.enforcement.evidence_store import EvidenceStore
from comptrust.gate.enforcement.settings import STAGES, Settings

Row = tuple[str, int, str | None, str | None, str]
"""Name, version, storage location, run and place (`in Production`, `@champion`)."""

End = tuple[datetime.datetime, str]
"""When something ends, and of which model."""


@dataclass(frozen=True)
class Index:
    """What must not change, and the promoted version that it is for."""

    folders: dict[str, str] = field(default_factory=dict)
    """Local folder of a promoted version's files -> the version."""
    candidates: dict[str, str] = field(default_factory=dict)
    """Run with a promoted version's evaluation and verdict -> the version."""
    others: dict[str, str] = field(default_factory=dict)
    """Run of a baseline or sibling, or logged model of any of these runs -> the version."""
    granted: set[str] = field(default_factory=set)
    """Digests of the signed verdicts that promotions rest on."""

    def rests_on(self, name: str) -> str | None:
        """Return the promoted version that rests on a run or logged model."""
        return self.candidates.get(name) or self.others.get(name)

    def of_folder(self, path: Path) -> str | None:
        """Return the promoted version that a path is, or is among, the files of."""
        places = (str(path), *map(str, path.parents))
        return next(filter(None, map(self.folders.get, places)), None)

    def below_folder(self, path: Path) -> str | None:
        """Return a promoted version whose files are below a path."""
        start = f"{path}{os.sep}"
        return next((ref for place, ref in self.folders.items() if place.startswith(start)), None)


class Promoted:
    """Reads what is promoted from the database, the log and the evidence store."""

    def __init__(self, settings: Settings, sessions: Callable[[], Any]) -> None:
        self._settings, self._sessions = settings, sessions
        self._store = EvidenceStore(settings.evidence) if settings.evidence else None
        self._mutex = threading.Lock()
        self._state: tuple[int, int] | None = None
        """Inode and size of the log when it was read."""
        self._read: dict[int, int] = {}
        self._changed = True
        self._ends: dict[replay.Place, list[End | None]] = {}
        """Place -> its last two changes: when what was granted ends, if something was."""
        self._granted: dict[tuple[str, str], set[tuple[str, str, str | None]]] = defaultdict(set)
        self._folder = cache(files.local)
        self._guarded = cache(settings.guards)
        self.last: Index | None = None
        """What was promoted the last time that somebody looked."""

    def now(self) -> Index:
        """Return what is promoted. The caller holds the log's lock, so that it stays so."""
        self._read_log()
        if self._changed or self.last is None:  # nothing is added to the log meanwhile
            self.last, self._changed = self._index(), False
        return self.last

    def due(self, now: datetime.datetime) -> list[str]:
        """Return the models of which something that was granted is over."""
        self._read_log()
        with self._mutex:
            last = [ends[-1] for ends in self._ends.values() if ends]
        return sorted({end[1] for end in last if end and end[0] <= now})

    def settled(self, model: str, now: datetime.datetime) -> None:
        """Forget what is over of a model. The caller holds the log's lock."""
        with self._mutex:
            for ends in self._ends.values():
                if ends and ends[-1] and ends[-1][1] == model and ends[-1][0] <= now:
                    ends[-1] = None

    def rows(self, *criteria: Any) -> list[Row]:
        """Return each promotion that the database has, guarded model or not."""
        version, alias = SqlModelVersion, SqlRegisteredModelAlias
        columns = (version.name, version.version, version.storage_location, version.run_id)
        same: Any = (alias.name == version.name) & (alias.version == version.version)
        in_stage: Any = version.current_stage.in_(STAGES)
        with self._sessions() as session:
            staged = session.query(*columns, version.current_stage).filter(in_stage, *criteria)
            aliased = session.query(*columns, alias.alias).join(alias, same).filter(*criteria)
            return [(*row[:4], f"in {row[4]}") for row in staged] + [
                (*row[:4], f"@{row[4]}") for row in aliased if self._settings.of_alias(row[4])
            ]

    def _index(self) -> Index:
        index = Index()
        for name, number, uri, run_id, _ in self.rows():
            if not self._guarded(name):
                continue
            ref = f"models:/{name}/{number}"
            if uri and (folder := self._folder(uri)):
                index.folders[str(folder)] = ref
                index.others.update((part, ref) for part in folder.parts if part.startswith("m-"))
            if run_id:
                index.candidates[run_id] = ref
            for granted_run, attestation, evidence in self._granted.get((name, str(number)), ()):
                index.candidates[granted_run] = ref
                index.granted.add(attestation)
                if self._store and evidence:
                    with contextlib.suppress(UserError):  # damaged, which the audit says
                        kept = self._store.index(evidence)
                        for needed in (*kept.runs.values(), *kept.models):
                            index.others.setdefault(needed, ref)
        return index

    def _read_log(self) -> None:
        """Read what the log has more than the last time; a request pays one look at its size."""
        with self._mutex:
            state, log = None, self._settings.audit_log
            with contextlib.suppress(FileNotFoundError):  # set aside, and the next one failed
                status = os.stat(log) if log else None
                state = (status.st_ino, status.st_size) if status else None
            if state and state == self._state:
                return
            for line in self._new_lines():
                if REFUSED not in line:
                    self._changed = True
                    with contextlib.suppress(ValueError, KeyError, TypeError):  # what a crash left
                        self._learn(json.loads(line))
            self._state = state

    def _learn(self, record: dict[str, Any]) -> None:
        """Remember what a record granted, and when that ends."""
        fields = (record["action"], record["model"], record["version"], record["target"])
        grant, place = record.get("grant"), replay.place_of(*fields)
        ends, end = self._ends.get(place, []), None
        if grant:
            granted = grant["run_id"], grant["attestation"], grant.get("evidence")
            self._granted[record["model"], record["version"]].add(granted)
        if grant and "rollback" not in grant:
            end = datetime.datetime.fromisoformat(grant["expires"]), record["model"]
        failed = record["decision"] == "failed"  # what was recorded before did not happen
        self._ends[place] = ends[:-1] if failed else [*ends[-1:], end]

    def _new_lines(self) -> Iterator[bytes]:
        log = self._settings.audit_log
        for part in audit_files.parts(log) if log else ():
            with contextlib.suppress(FileNotFoundError), open(part, "rb") as file:
                state = os.fstat(file.fileno())
                read = self._read.get(state.st_ino, 0)
                if read == state.st_size:
                    continue
                file.seek(read if read < state.st_size else 0)
                for line in file:
                    if line.endswith(b"\n"):  # the rest of another one comes with the next record
                        self._read[state.st_ino] = file.tell()
                        yield line
