"""The turns of a question: zero-shot, or with demonstrations as real user and assistant turns.

Demonstrations never become system messages, and the task stands exactly once (Wang et al. 2023,
appendix on prompt templates; the reference code's rendering faults are left out).
"""

from __future__ import annotations

from collections.abc import Sequence

from comptrust.records import Message

HELPFUL = "You are a helpful assistant."
PATTERN = "You are a helpful, pattern-following assistant."
ACCEPT = "Sure, I'd be happy to!"


def system(text: str) -> Message:
    """Return a system turn."""
    return Message(role="system", content=text)


def user(text: str) -> Message:
    """Return a user turn."""
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    """Return an assistant turn."""
    return Message(role="assistant", content=text)


def zero_shot(task: str, text: str) -> tuple[Message, ...]:
    """Ask one question: the task, then the text, in one user turn."""
    return (system(HELPFUL), user(f"{task}\n{text}"))


def few_shot(task: str, demos: Sequence[tuple[str, str]], text: str) -> tuple[Message, ...]:
    """Ask after demonstrations (question, answer); without any it is the zero-shot question."""
    if not demos:
        return zero_shot(task, text)
    shown = [
        turn
        for question, answer in demos
        for turn in (user(question), assistant(answer.capitalize()))
    ]
    return (system(PATTERN), user(task), assistant(ACCEPT), *shown, user(text))
