"""The error tree: every failure that a user can meet is one of these and has an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ComptrustError(Exception):
    """A failure, explained in one line: what is wrong, which value, what to do."""

    exit_code = 4


class UserError(ComptrustError):
    """A user's mistake or unusable input; nothing was changed (exit 2)."""

    exit_code = 2


class ServiceError(ComptrustError):
    """A service or this machine failed; says what was kept and how to continue (exit 4)."""

    exit_code = 4


def unknown(kind: str, name: object, known: Iterable[str]) -> UserError:
    """Build the error for an unknown name, suggesting the nearest known one.

    >>> str(unknown("method", "gptqq", ["awq", "gptq"]))
    "Unknown method 'gptqq'. Did you mean 'gptq'? Known: awq, gptq."
    """
    names = sorted(known)
    matches = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean '{matches[0]}'?" if matches else ""
    return UserError(f"Unknown {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}.")
