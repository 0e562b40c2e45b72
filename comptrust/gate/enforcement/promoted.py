"""What is promoted and what it rests on, kept in memory so that a request need not read all of it.

The log says when to look again: each change of a guarded stage or alias is in it, under its lock.
"""

import contextlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModelAlias

from comptrust.errors import UserError
from comptrust.gate.enforcement import audit_files, files
from comptrust.gate.enforcement.audit import REFUSED
from comptrust.gate.enforcement.evidence_store import EvidenceStore, Kept
from comptrust.gate.enforcement.settings import STAGES, Settings

Row = tuple[str, int, str | None, str | None, str]
"""Name, version, storage location, run and place (`in Production`, `@champion`)."""


@dataclass(frozen=True)
class Index:
    """What must not change, and the promoted version that it is for."""

    folders: dict[str, str] = field(default_factory=dict)
    """Local folder of a promoted version's files -> the version."""
    candidates: dict[str, str] = field(default_factory=dict)
    """Run with a promoted version's evaluation and verdict -> the version."""
    others: dict[str, str] = field(default_factory=dict)
    """Run of a baseline or sibling, or logged model of any of these runs -> the version."""
    kept: dict[str, list[tuple[str, Kept]]] = field(default_factory=lambda: defaultdict(list))
    """Run -> the evidence that it is part of, and as what (`candidate`, `baseline`, sibling)."""
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
        self._read: dict[int, int] = {}
        self._granted: dict[tuple[str, str], set[tuple[str, str, str | None]]] = defaultdict(set)
        self._folder = cache(files.local)
        self._guarded = cache(settings.guards)
        self.last: Index | None = None
        """What was promoted the last time that somebody looked."""

    def now(self) -> Index:
        """Return what is promoted. The caller holds the log's lock, so that it stays so."""
        changed = self._read_log()
        if changed or self.last is None:
            self.last = self._index()
        return self.last

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
                if evidence and (kept := self._kept(evidence)):
                    for role, run in kept.runs.items():
                        index.kept[run].append((role, kept))
                    for needed in (*kept.runs.values(), *kept.models):
                        index.others.setdefault(needed, ref)
        return index

    def _kept(self, evidence: str) -> Kept | None:
        """Return what was kept; None if it is damaged, which `comptrust audit` says."""
        with contextlib.suppress(UserError):
            return self._store.index(evidence) if self._store else None
        return None

    def _read_log(self) -> bool:
        """Read what the log has more than the last time; return whether anything was changed."""
        changed = False
        for line in self._new_lines():
            if REFUSED in line:
                continue
            changed = True
            with contextlib.suppress(ValueError, KeyError, TypeError):  # what a crash left
                record = json.loads(line)
                if grant := record.get("grant"):
                    version = record["model"], record["version"]
                    self._granted[version].add(
                        (grant["run_id"], grant["attestation"], grant.get("evidence"))
                    )
        return changed

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
