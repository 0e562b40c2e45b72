"""The error tree: every failure a user can meet is one of these, and carries its exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ComptrustError(Exception):
    """A failure with one clear line: what, which value, what to do."""

    exit_code = 4


class UserError(ComptrustError):
    """The user's mistake or unusable input; nothing was changed (exit 2)."""

    exit_code = 2


class ServiceError(ComptrustError):
    """A service or this machine failed; says what was kept and how to go on (exit 4)."""

    exit_code = 4


def unknown(kind: str, name: object, known: Iterable[str]) -> UserError:
    """Build the error for a name that is not known, suggesting the nearest one.

    >>> str(unknown("method", "gptqq", ["awq", "gptq"]))
    "Unknown method 'gptqq'. Did you mean 'gptq'? Known: awq, gptq."
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return UserError(f"Unknown {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}.")
