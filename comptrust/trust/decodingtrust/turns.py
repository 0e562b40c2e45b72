"""The turns of a question: zero-shot, or few-shot with demonstrations as real turns.

Demonstrations are never system messages, and the task is stated exactly once (Wang et al. 2023,
appendix on prompt templates). The reference code's rendering bugs are not reproduced.
"""

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
    """Return one user turn with the task and the text, after a system turn."""
    return (system(HELPFUL), user(f"{task}\n{text}"))


def few_shot(task: str, demos: Sequence[tuple[str, str]], text: str) -> tuple[Message, ...]:
    """Return the question after demonstrations (question, answer); zero-shot if there are none."""
    if not demos:
        return zero_shot(task, text)
    turns = []
    for question, answer in demos:
        turns += [user(question), assistant(answer.capitalize())]
    return (system(PATTERN), user(task), assistant(ACCEPT), *turns, user(text))
