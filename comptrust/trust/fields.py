"""Checks of the fields of an answer that a dimension needs."""

from typing import Any, TypeVar

from comptrust.errors import UserError
from comptrust.records import Generation

T = TypeVar("T")


class FieldError(UserError):
    """A generation has a field that cannot be scored; callers may know its file and line."""

    def __init__(self, generation: Generation, field: str, problem: str) -> None:
        super().__init__(
            f"{generation.dimension} answer '{generation.id}': field '{field}': {problem}"
        )
        self.prompt_id = generation.id
        self.field = field
        self.problem = problem


def wrong(generation: Generation, field: str, needs: str, got: object) -> FieldError:
    """Build the error for a field whose value is not what is needed."""
    return FieldError(generation, field, f"must be {needs} (got {got!r:.80}).")


def target(generation: Generation, *allowed: str) -> str:
    """Return a target that must be a string, and one of `allowed` if given. Raises FieldError."""
    value = generation.target
    if not isinstance(value, str) or (allowed and value not in allowed):
        needs = " or ".join(f"'{name}'" for name in allowed) or "a string"
        raise wrong(generation, "target", needs, value)
    return value


def number(generation: Generation, *, below: int) -> int:
    """Return a target that must be an integer from 0 to `below` - 1. Raises FieldError."""
    value = generation.target
    if not isinstance(value, int) or not 0 <= value < below:
        raise wrong(generation, "target", f"an integer from 0 to {below - 1}", value)
    return value


def extra(generation: Generation, name: str, kind: type[T], *, needs: str) -> T:
    """Return an entry of `extra` that must have a type. Raises FieldError."""
    value: Any = generation.extra.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise wrong(generation, f"extra.{name}", needs, value)
    return value


def words(generation: Generation, name: str) -> list[str]:
    """Return an entry of `extra` that must be a list of strings, not empty. Raises FieldError."""
    needs = "a list of strings"
    value = extra(generation, name, list, needs=needs)
    if not value or not all(isinstance(word, str) for word in value):
        raise wrong(generation, f"extra.{name}", needs, value)
    return value


def single(generation: Generation) -> str:
    """Return the text of an answer that must have only one. Raises FieldError."""
    if len(generation.texts) != 1:
        raise wrong(generation, "texts", "one text", f"{len(generation.texts)} texts")
    return generation.texts[0]


def cluster(generation: Generation, items: str | None = None) -> str:
    """Return the cluster of a prompt: the item that it is about, in every scenario that asks it.

    That is `extra.cluster`; else the prompt's place (`extra.index`) among `items`, the name of a
    list that several scenarios ask in the same order; else the prompt's id.
    """
    value, index = generation.extra.get("cluster"), generation.extra.get("index")
    if value is not None:
        return str(value)
    return generation.id if items is None or index is None else f"{items}#{index}"
