"""A file lock that lets one process at a time do a job."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from comptrust.errors import ServiceError


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting as long as another process has it.

    The system releases the lock of a process that dies. Raises ServiceError if the file cannot be
    created or locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path).acquire()
    # filelock raises NotImplementedError where the file system has no locks
    except (OSError, NotImplementedError) as error:
        raise unusable(path.parent, error) from error
    with lock:
        yield


def unusable(folder: Path, error: Exception) -> ServiceError:
    """Build the error for a cache folder that cannot be written."""
    reason = getattr(error, "strerror", None) or error
    return ServiceError(
        f"Cannot use the cache {folder}: {reason}. Set COMPTRUST_CACHE to a folder with space."
    )
