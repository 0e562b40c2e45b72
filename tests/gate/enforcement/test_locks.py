"""Locks that others cannot hold, and one hash of a file however many ask for it at once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from comptrust import digests
from comptrust.errors import ServiceError
from comptrust.gate.enforcement import audit, locks
from comptrust.gate.enforcement.audit import Audit
from comptrust.gate.enforcement.locks import Turns

ANOTHER_USER = 65534
"""`nobody`."""


def at_once(count: int, act: Callable[[], object]) -> None:
    threads = [threading.Thread(target=act) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def lock_file(log: Audit) -> Path:
    return log.path.with_name(f"{log.path.name}.lock")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
def test_another_user_cannot_hold_the_lock(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)  # not the folder keeps them out
    log = Audit(tmp_path / "audit.jsonl")
    lock_file(log).touch(mode=0o644)  # of an older version
    with log.locked():
        pass
    open_it = ["/bin/sh", "-c", f"exec 9<'{lock_file(log)}'"]  # no lock without opening it
    result = subprocess.run(open_it, user=ANOTHER_USER, capture_output=True, text=True)
    assert "Permission denied" in result.stderr
    os.chown(lock_file(log), ANOTHER_USER, -1)
    with pytest.raises(ServiceError, match="not a file of this server's user"), log.locked():
        pass
    lock_file(log).unlink()
    lock_file(log).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ServiceError, match="not a file of this server's user"), log.locked():
        pass


def test_the_lock_excludes_other_threads_and_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, other = Audit(tmp_path / "audit.jsonl"), Audit(tmp_path / "audit.jsonl")
    counted = 0

    def count() -> None:
        nonlocal counted
        for number in range(20):
            one = (log, other)[number % 2]
            with one.locked(), one.locked():
                before = counted
                time.sleep(0)
                counted = before + 1

    at_once(5, count)
    assert counted == 100
    monkeypatch.setattr(audit, "LOCK_SECONDS", 0.1)
    with open(lock_file(log)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = Audit(log.path)
        with pytest.raises(ServiceError, match="has been locked for"), waiting.locked():
            pass
    with waiting.locked():  # what was not taken is free
        pass


def test_a_file_is_hashed_once_for_all_who_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(b"x")
        os.utime(path, (0, 0))
    monkeypatch.setattr(digests, "SETTLED_SECONDS", -1.0)
    read: list[Path] = []

    def slowly(path: Path) -> str:
        read.append(path)
        time.sleep(0.05)
        return path.name

    monkeypatch.setattr(digests, "of_file", slowly)
    memory = digests.Memory({})
    at_once(20, lambda: [memory.of_file(path) for path in paths])
    assert sorted(read) == paths


def test_turns() -> None:
    turns, running, most, names = Turns(2), 0, 0, iter("aabbccdd" * 2)
    busy: set[str] = set()
    guard = threading.Lock()

    def job() -> None:
        nonlocal running, most
        name = next(names)
        with turns.take(name):
            with guard:
                assert name not in busy
                busy.add(name)
                running += 1
                most = max(most, running)
            time.sleep(0.01)
            with guard:
                busy.discard(name)
                running -= 1

    at_once(16, job)
    assert most == 2 and next(names, None) is None
    assert not list(vars(turns)["_turns"])
    assert locks.POLL_SECONDS < 0.05
