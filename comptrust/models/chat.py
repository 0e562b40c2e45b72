"""Chat templates: how messages become the text that a model sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from comptrust.errors import UserError, unknown
from comptrust.models.base import Tokenizer
from comptrust.records import Message

VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
DATE = "01 Jan 2024"
"""What templates print as today's date, so that a prompt does not change from day to day."""


class Template(NamedTuple):
    """A chat format that needs no tokenizer."""

    begin: str
    """Beginning-of-text token of the models trained on this format; empty if they differ."""
    turns: Callable[[Sequence[Message]], str]
    """Renders the messages, without `begin`, up to the point where the answer begins."""


def render(
    messages: Sequence[Message],
    *,
    tokenizer: Tokenizer | None,
    template: str | None = None,
    prefill: str = "",
) -> str:
    """Return the text up to the point where the answer begins, including special tokens.

    A single message of role `completion` is used as it is. Otherwise `template` names one of
    TEMPLATES; None means the model's own, or plain paragraphs if it has none (a base model).
    Raises UserError for an unknown template.
    """
    if tokenizer is None and template is None:
        raise UserError(
            f"Without the model's tokenizer, a template must be named: {', '.join(TEMPLATES)}."
        )
    form = None if template is None else named(template)
    start = bos(tokenizer) if tokenizer is not None else form.begin if form else ""
    if any(message.role == "completion" for message in messages):
        if len(messages) != 1:
            raise UserError("A prompt with a completion message has exactly one message.")
        return start + messages[0].content + prefill
    if form is not None:
        return (form.begin or start) + form.turns(messages) + prefill
    if tokenizer is None or tokenizer.chat_template is None:
        return start + plain(messages) + prefill
    try:
        text = tokenizer.apply_chat_template(
            [message.model_dump() for message in messages],
            tokenize=False,
            add_generation_prompt=True,
            date_string=DATE,
        )
    # a template is a program by the model's author; transformers runs it in a sandbox
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"The model's own chat template fails: {reason}. Name a template instead:"
            f" {', '.join(TEMPLATES)}."
        ) from error
    return str(text) + prefill


def bos(tokenizer: Tokenizer) -> str:
    """Return the token that the tokenizer puts before plain text, or an empty string."""
    adds_it = tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    return (tokenizer.bos_token or "") if adds_it else ""


def name_of(template: str | None, tokenizer: Tokenizer | None) -> str:
    """Return the name under which the way to render is recorded."""
    if template or tokenizer is None:
        return template or "server"
    return "own" if tokenizer.chat_template else "plain"


def named(template: str) -> Template:
    """Return a template by name. Raises UserError, with the closest name, if it is unknown."""
    if template not in TEMPLATES:
        raise unknown("chat template", template, TEMPLATES)
    return TEMPLATES[template]


def plain(messages: Sequence[Message]) -> str:
    """Render for a base model, one paragraph per message."""
    return "".join(f"{message.content}\n" for message in messages)


def llama_2(messages: Sequence[Message]) -> str:
    """Render as Llama 2 Chat was trained (Touvron et al. 2023, appendix A.3.3).

    The system text is part of the first user turn.
    """
    system = plain([message for message in messages if message.role == "system"]).strip()
    wrapped = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system else ""
    text = ""
    for message in messages:
        if message.role == "user":
            text += f"<s>[INST] {wrapped}{message.content.strip()} [/INST]"
            wrapped = ""
        elif message.role == "assistant":
            text += f" {message.content.strip()} </s>"
    return text.removeprefix("<s>")


def vicuna(messages: Sequence[Message]) -> str:
    """Render as Vicuna v1.1 was trained (FastChat, separators " " and "</s>").

    Without a system message, the format's own system text is used.
    """
    system = [message.content.strip() for message in messages if message.role == "system"]
    text = f"{' '.join(system) or VICUNA_SYSTEM} "
    for message in messages:
        if message.role == "user":
            text += f"USER: {message.content.strip()} "
        elif message.role == "assistant":
            text += f"ASSISTANT: {message.content.strip()}</s>"
    return f"{text}ASSISTANT:"


def chatml(messages: Sequence[Message]) -> str:
    """Render as ChatML, each turn between <|im_start|> and <|im_end|>.

    A default system text, which some models' own templates add, is not added.
    """
    turns = [f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n" for message in messages]
    return f"{''.join(turns)}<|im_start|>assistant\n"


TEMPLATES = {
    "llama-2": Template("<s>", llama_2),
    "vicuna_v1.1": Template("<s>", vicuna),
    "chatml": Template("", chatml),
    "plain": Template("", plain),
}
