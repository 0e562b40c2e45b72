"""What to say when something fails; an unexpected error leaves its traceback in a file."""

import errno
import re
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from comptrust.errors import ComptrustError, Exit, UserError

BAD_PATH = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""What can be wrong with a path that the user gave; other system errors are not the user's."""
BROUGHT_BY = {
    "alt-profanity-check": "profanity_check",
    "scikit-learn": "sklearn",
    "mlflow": "fastapi flask pandas requests sqlalchemy starlette uvicorn werkzeug",
    "llmcompressor": "compressed_tensors loguru",
    "transformers": "huggingface_hub safetensors tokenizers",
}
DISTRIBUTIONS = {name: package for package, names in BROUGHT_BY.items() for name in names.split()}
"""Modules that are not named like the package that brings them, or that come with another one."""
REQUIREMENT = re.compile(r'([\w.-]+)[^;]*;.*\bextra == "([\w-]+)"')
COLLECTIONS = ("all", "test", "docs")
"""Extras that no error should recommend: they bring more than what is missing."""


def explain(error: BaseException, *, redact: Callable[[str], str]) -> tuple[str, Exit]:
    """Return one line that tells the user about an error, redacted, and the exit code."""
    if isinstance(error, ModuleNotFoundError):
        error = missing_extra(error) or error
    if isinstance(error, ComptrustError):
        return redact(str(error)), error.exit_code
    if isinstance(error, MemoryError):
        text = "Not enough memory. Finished work has been kept; use a machine with more."
        return text, Exit.FAILURE
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        text = f"{place}{error.strerror or error}. Fix this and run the command again; finished"
        code = Exit.USER if error.errno in BAD_PATH else Exit.FAILURE
        return redact(f"{text} work has been kept."), code
    return _report(error, redact), Exit.FAILURE


def missing_extra(error: ModuleNotFoundError) -> UserError | None:
    """Return the error for a module that one of our extras brings; None for any other module."""
    module = (error.name or "").partition(".")[0]
    if module == "comptrust":  # our extras name one another
        return None
    package = DISTRIBUTIONS.get(module, module).replace("_", "-")
    with suppress(PackageNotFoundError):  # a checkout that is not installed
        for line in requires("comptrust") or []:
            match = REQUIREMENT.match(line)
            if match and match[1].replace("_", "-") == package and match[2] not in COLLECTIONS:
                return UserError(
                    f"This needs the package '{package}', which is not installed."
                    f" Install it: pip install 'comptrust[{match[2]}]'"
                )
    return None


def _report(error: BaseException, redact: Callable[[str], str]) -> str:
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
