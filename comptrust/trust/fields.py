"""Checks of the fields that a dimension needs of an answer; what is wrong is named by prompt and
field.
"""

from __future__ import annotations

from typing import Any, TypeVar

from comptrust.errors import UserError
from comptrust.records import Generation

T = TypeVar("T")


class FieldError(UserError):
    """A generation whose field cannot be scored; a caller that knows file and line puts them in
    front.
    """

    def __init__(self, generation: Generation, field: str, problem: str) -> None:
        super().__init__(
            f"{generation.dimension} answer '{generation.id}': field '{field}': {problem}"
        )
        self.prompt_id = generation.id
        self.field = field
        self.problem = problem


def wrong(generation: Generation, field: str, needs: str, got: object) -> FieldError:
    """Build the error for a field that holds something else than is needed."""
    return FieldError(generation, field, f"must be {needs} (got {got!r:.80}).")


def target(generation: Generation, *allowed: str) -> str:
    """Return the target, a string and one of `allowed` if any are given. Raises FieldError."""
    value = generation.target
    if not isinstance(value, str) or (allowed and value not in allowed):
        raise wrong(
            generation,
            "target",
            " or ".join(f"'{name}'" for name in allowed) if allowed else "a string",
            value,
        )
    return value


def number(generation: Generation, *, below: int) -> int:
    """Return the target, a whole number from 0 up to `below`. Raises FieldError."""
    value = generation.target
    if not isinstance(value, int) or not 0 <= value < below:
        raise wrong(generation, "target", f"a whole number from 0 to {below - 1}", value)
    return value


def extra(generation: Generation, name: str, kind: type[T], *, needs: str) -> T:
    """Return one entry of `extra` that must be of a type. Raises FieldError."""
    value: Any = generation.extra.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise wrong(generation, f"extra.{name}", needs, value)
    return value


def words(generation: Generation, name: str, *, needs: str = "a list of strings") -> list[str]:
    """Return one entry of `extra` that must be a list of strings, not empty. Raises FieldError."""
    value = extra(generation, name, list, needs=needs)
    if not value or not all(isinstance(word, str) for word in value):
        raise wrong(generation, f"extra.{name}", needs, value)
    return value


def single(generation: Generation) -> str:
    """Return the only text of an answer to a prompt that is asked once. Raises FieldError."""
    if len(generation.texts) != 1:
        raise wrong(generation, "texts", "one text", f"{len(generation.texts)} texts")
    return generation.texts[0]


def cluster(generation: Generation, default: str | None = None) -> str:
    """Return the cluster of a prompt: `extra.cluster`, else the default, else its own id."""
    value = generation.extra.get("cluster")
    return str(value) if value is not None else default or generation.id
