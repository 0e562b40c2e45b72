"""Building blocks of prompts: turns, plain text, options, and rows that become prompts."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from comptrust.records import Choice, Message, Prompt

Rows = dict[str, list[dict[str, Any]]]
"""Scenario -> the fields of each of its prompts but dimension, scenario and number."""
HELPFUL = "You are a helpful assistant."
PATTERN = "You are a helpful, pattern-following assistant."
ACCEPT = "Sure, I'd be happy to!"


def chat(
    user: str, *, system: str | None = None, demos: Iterable[tuple[str, str]] = ()
) -> tuple[Message, ...]:
    """Return the system turn if any, demonstrations as turns, and the user's turn."""
    turns = [] if system is None else [_turn("system", system)]
    for question, answer in demos:
        turns += [_turn("user", question), _turn("assistant", answer)]
    return (*turns, Message(role="user", content=user))


@functools.lru_cache(maxsize=4096)
def _turn(role: Literal["system", "user", "assistant"], content: str) -> Message:
    """Return a turn that many prompts share; a benchmark repeats its demonstrations."""
    return Message(role=role, content=content)


def few_shot(task: str, demos: Sequence[tuple[str, str]], text: str) -> tuple[Message, ...]:
    """Return a question after its task and demonstrations (question, answer), if there are any.

    Demonstrations are never system messages, and the task is stated exactly once (Wang et al. 2023,
    appendix on prompt templates). The reference code's rendering bugs are not reproduced.
    """
    if not demos:
        return chat(f"{task}\n{text}", system=HELPFUL)
    answered = ((question, answer.capitalize()) for question, answer in demos)
    return chat(text, system=PATTERN, demos=[(task, ACCEPT), *answered])


def completion(text: str) -> tuple[Message, ...]:
    """Return plain text to continue."""
    return (Message(role="completion", content=text),)


def words(*options: str) -> tuple[Choice, ...]:
    """Return options whose recorded and scored texts are the same."""
    return tuple(Choice(text=option, continuation=option) for option in options)


def pair(
    first: tuple[Message, ...],
    second: tuple[Message, ...],
    *,
    choices: tuple[Choice, Choice],
    cluster: str,
    number: int,
    extra: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """Return the fields of a prompt that compares two texts; its target is the right option's text.

    `first` is the text that the first option fits, `second` the one that the second fits. The
    prompt asks which option fits the text in `messages` better than the one in `reference`: the
    second text of every other pair (by `number`), so that no option is always right. `extra` is
    what else scoring needs.
    """
    texts = (first, second) if number % 2 == 0 else (second, first)
    return {
        "messages": texts[0],
        "reference": texts[1],
        "choices": choices,
        "target": choices[number % 2].text,
        "extra": {"cluster": cluster, "chance": 0.5, **extra},
    }


def prompts(dimension: str, scenarios: Mapping[str, Iterable[dict[str, Any]]]) -> Iterator[Prompt]:
    """Yield the prompts of a dimension; a row without an id gets a number (`extra.index`)."""
    for scenario, rows in scenarios.items():
        for index, row in enumerate(rows):
            if "id" not in row:
                extra = {**row.get("extra", {}), "index": index}
                row = {**row, "id": f"{scenario}#{index}", "extra": extra}
            yield Prompt(dimension=dimension, scenario=scenario, **row)
