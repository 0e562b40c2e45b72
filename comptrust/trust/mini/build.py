"""Building blocks of the mini suite's prompts."""

from collections.abc import Iterable, Sequence
from typing import Any

from comptrust.records import Choice, Message, Prompt


def chat(
    user: str, *, system: str | None = None, demos: Iterable[tuple[str, str]] = ()
) -> tuple[Message, ...]:
    """Return the system turn if any, demonstrations as turns, and the user's turn."""
    turns = [Message(role="system", content=system)] if system else []
    for question, answer in demos:
        turns += [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return (*turns, Message(role="user", content=user))


def completion(text: str) -> tuple[Message, ...]:
    """Return plain text to continue."""
    return (Message(role="completion", content=text),)


def words(*options: str) -> tuple[Choice, ...]:
    """Return options whose recorded and scored texts are the same."""
    return tuple(Choice(text=option, continuation=option) for option in options)


def numbered(dimension: str, scenario: str, rows: Sequence[dict[str, Any]]) -> list[Prompt]:
    """Return the prompts of one scenario, numbered, from the other fields of each."""
    return [
        Prompt(
            id=f"{scenario}#{index}",
            dimension=dimension,
            scenario=scenario,
            **{**row, "extra": {**row.get("extra", {}), "index": index}},
        )
        for index, row in enumerate(rows)
    ]
