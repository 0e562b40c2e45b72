"""What to say when something fails; an unexpected error leaves its traceback in a file."""

import errno
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from comptrust import extras
from comptrust.errors import ComptrustError, Exit

BAD_PATH = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""What can be wrong with a path that the user gave; other system errors are not the user's."""


@dataclass(frozen=True)
class Failure:
    """One line for the user, and the exit code."""

    text: str
    code: Exit


def explain(error: BaseException, *, redact: Callable[[str], str]) -> Failure:
    """Return what to tell the user about an error. `redact` removes credentials from a text."""
    if isinstance(error, ModuleNotFoundError):
        error = extras.missing(error) or error
    if isinstance(error, ComptrustError):
        return Failure(redact(str(error)), error.exit_code)
    if isinstance(error, MemoryError):
        return Failure(
            "Not enough memory. Finished work has been kept; use a machine with more.", Exit.FAILURE
        )
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        text = f"{place}{error.strerror or error}. Fix this and run the command again; finished"
        code = Exit.USER if error.errno in BAD_PATH else Exit.FAILURE
        return Failure(redact(f"{text} work has been kept."), code)
    return Failure(_report(error, redact), Exit.FAILURE)


def _report(error: BaseException, redact: Callable[[str], str]) -> str:
    """Write the traceback to a file; return a line with the cause and that file."""
    path = _write(redact("".join(traceback.format_exception(error))))
    where = (
        f"The full traceback is in {path}; please report it."
        if path
        else "The traceback could not be saved: neither COMPTRUST_CACHE nor the temporary folder"
        " is writable. Set COMPTRUST_CACHE to a folder that is, and run again."
    )
    return redact(f"Unexpected {_cause(error)}. Finished work has been kept. {where}")


def _cause(error: BaseException) -> str:
    try:
        message = " ".join(str(error).split()).rstrip(".")
    except Exception:  # a class of some library whose own __str__ fails
        message = "its message cannot be shown"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _write(text: str) -> Path | None:
    for folder in _folders():
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            # mkstemp: a new name, and a file that only this user can read
            handle, name = tempfile.mkstemp(prefix="comptrust-", suffix=".txt", dir=folder)
            with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return Path(name)
    return None


def _folders() -> Iterator[Path]:
    """Yield the folders to try. Whatever is broken here must not hide the error itself."""
    with suppress(Exception):  # the configuration, or a library that it needs, may be broken
        from comptrust import config

        yield config.cache_dir() / "crashes"
    with suppress(OSError):  # no temporary folder is writable
        yield Path(tempfile.gettempdir())
