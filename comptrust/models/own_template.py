"""The chat template that comes with a model, filled in the same way on every day.

Templates that refuse a system turn, or leave it out, get it as the beginning of the user's turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from comptrust.errors import UserError
from comptrust.models.base import Tokenizer
from comptrust.records import Message

Arguments = Mapping[str, bool | int | float | str]
NO_ARGUMENTS: Arguments = MappingProxyType({})
DATE = datetime(2024, 1, 1)
"""What templates print as today's date, so that a prompt does not change from day to day."""
DATE_TEXT = f"{DATE:%d %b %Y}"
OURS = ("messages", "add_generation_prompt", "strftime_now", "tools", "documents")
"""Variables of templates that no argument may set."""
PROBE = (
    Message(role="system", content="Answer in one word."),
    Message(role="user", content="What is the capital of France?"),
)


def fill(
    messages: Sequence[Message],
    *,
    tokenizer: Tokenizer,
    arguments: Arguments = NO_ARGUMENTS,
    answered: bool = False,
) -> str:
    """Return the text of a conversation, up to where the answer begins unless it is `answered`.

    Raises UserError if the template fails, or does not know one of the arguments.
    """
    check(arguments, tokenizer=tokenizer)
    try:
        text = _filled(messages, tokenizer, arguments, answered=answered)
        lost = not _has_system(text, messages)
    # a template is a program by the model's author; transformers runs it in a sandbox
    except Exception as error:
        lost = any(message.role == "system" for message in messages)
        if not lost:
            raise _failed(error) from error
    if lost:
        try:
            text = _filled(_folded(messages), tokenizer, arguments, answered=answered)
        except Exception as error:
            raise _failed(error) from error
    return text


def describe(tokenizer: Tokenizer, arguments: Arguments = NO_ARGUMENTS) -> str:
    """Return how the template is filled: `own`, and whatever is done to it."""
    notes = [f"{name}={value}" for name, value in sorted(arguments.items())]
    source = str(tokenizer.get_chat_template())
    try:
        folds = not _has_system(_filled(PROBE, tokenizer, arguments, answered=False), PROBE)
    except Exception:
        folds = True
    if folds:
        notes.append("system turn in the user's turn")
    if "strftime_now" in source or "date_string" in source:
        notes.append(f"date {DATE_TEXT}")
    return f"own ({', '.join(notes)})" if notes else "own"


def check(arguments: Arguments, *, tokenizer: Tokenizer) -> None:
    """Raise UserError for an argument that the template does not use."""
    for name in arguments:
        source = str(tokenizer.get_chat_template())
        if name in OURS or not re.search(rf"\b{re.escape(name)}\b", source):
            raise UserError(
                f"template_args: the model's chat template does not use '{name}'. Correct it, or"
                " leave it out."
            )


def _filled(
    messages: Sequence[Message], tokenizer: Tokenizer, arguments: Arguments, *, answered: bool
) -> str:
    settings: dict[str, Any] = {
        "date_string": DATE_TEXT,
        **arguments,
        "strftime_now": DATE.strftime,
        "add_generation_prompt": not answered,
        "tokenize": False,
    }
    turns = [message.model_dump() for message in messages]
    return str(tokenizer.apply_chat_template(turns, **settings))


def _has_system(text: str, messages: Sequence[Message]) -> bool:
    return all(m.content.strip() in text for m in messages if m.role == "system")


def _folded(messages: Sequence[Message]) -> list[Message]:
    """Put the text of system turns at the beginning of the next turn of the user."""
    folded: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if message.role == "system":
            waiting.append(message.content)
        elif message.role == "user" and waiting:
            text = "\n\n".join([*waiting, message.content])
            folded.append(Message(role="user", content=text))
            waiting = []
        else:
            folded.append(message)
    if waiting:
        folded.append(Message(role="user", content="\n\n".join(waiting)))
    return folded


def _failed(error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(
        f"The model's own chat template fails: {reason}. Name a template instead: llama-2,"
        " vicuna_v1.1, chatml or plain."
    )
