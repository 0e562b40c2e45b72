"""Locks of a server: one that all servers of a log share, and turns within a process."""

import os
import stat
import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from filelock import FileLock, Timeout

from comptrust.errors import ServiceError

POLL_SECONDS = 0.005
"""How often a process looks whether another one has released the lock."""


class SharedLock:
    """A file lock of the server's user; the same thread may take it again.

    Whoever may open the file can hold it, so it is closed to other users. Within a process only one
    thread at a time waits for the file, and the others take turns without polling.
    """

    def __init__(self, path: Path, *, seconds: float) -> None:
        self._path, self._seconds = path, seconds
        self._threads = threading.RLock()
        self._file = FileLock(
            path, mode=0o600, thread_local=False, poll_interval=POLL_SECONDS, fallback_to_soft=False
        )

    def acquire(self) -> None:
        """Take the lock. Raises Timeout if it is not free in time, ServiceError if it is unsafe."""
        end = time.monotonic() + self._seconds
        if not self._threads.acquire(timeout=self._seconds):
            raise Timeout(str(self._path))
        try:
            self._close_to_others()
            self._file.acquire(timeout=max(0.0, end - time.monotonic()))
        except BaseException:
            self._threads.release()
            raise

    def release(self) -> None:
        """Give the lock back, once for each time that it was taken."""
        self._file.release()
        self._threads.release()

    def _close_to_others(self) -> None:
        try:
            state = os.lstat(self._path)
        except FileNotFoundError:
            return  # it is created with its final mode
        if os.name != "posix" or not state.st_mode & 0o077 and state.st_uid == os.geteuid():
            return
        if state.st_uid != os.geteuid() or not stat.S_ISREG(state.st_mode):
            raise ServiceError(
                f"{self._path} is not a file of this server's user, so others can hold it for as"
                " long as they like. Nothing was changed; remove it."
            )
        os.chmod(self._path, 0o600)


class Turns:
    """Lets one thread at a time do a job of the same name, and only some do any job."""

    def __init__(self, places: int) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._lock = threading.Lock()
        self._turns: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()

    @contextmanager
    def take(self, name: Hashable) -> Iterator[None]:
        """Wait for the others of this name, then for a free place."""
        with self._lock:  # a turn is forgotten when nobody waits for it
            turn = self._turns.setdefault(name, threading.Lock())
        with turn, self._places:
            yield
