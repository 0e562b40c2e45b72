"""The exit codes, and the error tree: every expected failure is one of these errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

_SHOWN: dict[str, str] = {}
"""Folder of ours -> what errors call it."""


def show(folder: Path, name: object) -> None:
    """Let errors name what the user gave, or asked for, in place of our own copy in `folder`."""
    _SHOWN.update(dict.fromkeys((str(folder.resolve()), str(folder)), str(name)))


class Exit(IntEnum):
    """How every command ends. No failure of the program ever looks like a verdict."""

    PASS = 0
    """Done, or the verdict passes."""
    BLOCK = 1
    """The verdict blocks, or `verify` or `audit` found a problem. Nothing else leads here."""
    USER = 2
    """The user's mistake or unusable input."""
    INCONCLUSIVE = 3
    """The verdict is inconclusive."""
    FAILURE = 4
    """A service, this machine or this program failed."""
    INTERRUPTED = 130
    """Ctrl-C (128 + SIGINT)."""
    READER_GONE = 141
    """The program reading our output closed it, as `head` does (128 + SIGPIPE)."""
    TERMINATED = 143
    """Stopped from outside (128 + SIGTERM)."""

    @classmethod
    def of(cls, outcome: str) -> Exit:
        """Return the code of a verdict's outcome: pass, block or inconclusive."""
        return {"pass": cls.PASS, "block": cls.BLOCK, "inconclusive": cls.INCONCLUSIVE}[outcome]


class ComptrustError(Exception):
    """A failure explained in one line: what, which value, what to do."""

    exit_code = Exit.FAILURE

    def __str__(self) -> str:
        text = super().__str__()
        for folder, name in _SHOWN.items():
            text = text.replace(folder, name)
        return text


class UserError(ComptrustError):
    """The user's mistake or unusable input; nothing was changed."""

    exit_code = Exit.USER


class ServiceError(ComptrustError):
    """A service or this machine failed; says what was kept and how to continue."""

    exit_code = Exit.FAILURE


def unknown(kind: str, name: object, known: Iterable[str]) -> UserError:
    """Build the error for an unknown name, suggesting the nearest known one.

    >>> str(unknown("method", "gptqq", ["awq", "gptq"]))
    "Unknown method 'gptqq'. Did you mean 'gptq'? Known: awq, gptq."
    """
    names = sorted(known)
    matches = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean '{matches[0]}'?" if matches else ""
    return UserError(f"Unknown {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}.")
