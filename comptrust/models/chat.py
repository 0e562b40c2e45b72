"""How messages become the text that a model sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from comptrust.errors import UserError, unknown
from comptrust.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
DATE = "01 Jan 2024"
"""Templates that print today's date get this one, so that a prompt never changes overnight."""


class Template(NamedTuple):
    """A chat format that needs no tokenizer."""

    begin: str
    """The beginning-of-text token of the models that were trained on it; empty where they
    differ."""
    turns: Callable[[Sequence[Message]], str]
    """Renders the messages, without `begin`, up to where the answer begins."""


def render(
    messages: Sequence[Message],
    *,
    tokenizer: PreTrainedTokenizerBase | None,
    template: str | None = None,
    prefill: str = "",
) -> str:
    """Return the whole text, special tokens spelled out, up to where the answer begins.

    One message of role `completion` is continued as it is. Otherwise `template` names one of
    TEMPLATES, and None takes the model's own; a model without one (a base model) gets its messages
    as plain paragraphs. Raises UserError for an unknown template.
    """
    if tokenizer is None and template is None:
        raise UserError(
            f"Without the model's tokenizer a template must be named: {', '.join(TEMPLATES)}."
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
    turns = [message.model_dump() for message in messages]
    try:
        text = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, date_string=DATE
        )
    except Exception as error:  # the template is a program by the model's author, run in a sandbox
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"The model's own chat template fails: {reason}. Name one: --template"
            f" {'|'.join(TEMPLATES)}."
        ) from error
    return str(text) + prefill


def bos(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the token that the tokenizer puts before plain text, or nothing."""
    ids = tokenizer("a")["input_ids"]
    return (
        tokenizer.bos_token
        if tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id
        else ""
    )


def named(template: str) -> Template:
    """Return a template by name. Raises UserError with the nearest name."""
    if template not in TEMPLATES:
        raise unknown("chat template", template, TEMPLATES)
    return TEMPLATES[template]


def plain(messages: Sequence[Message]) -> str:
    """Render for a base model: one paragraph a message."""
    return "".join(f"{message.content}\n" for message in messages)


def llama_2(messages: Sequence[Message]) -> str:
    """Render as Llama 2 Chat was trained (Touvron et al. 2023, appendix A.3.3); the system text
    stands in the first user turn.
    """
    system = "".join(
        f"{message.content}\n" for message in messages if message.role == "system"
    ).strip()
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
    """Render as Vicuna v1.1 was trained (FastChat, separators " " and "</s>"); its own system text
    stands unless the prompt brings one.
    """
    system = (
        " ".join(message.content.strip() for message in messages if message.role == "system")
        or VICUNA_SYSTEM
    )
    text = f"{system} "
    for message in messages:
        if message.role == "user":
            text += f"USER: {message.content.strip()} "
        elif message.role == "assistant":
            text += f"ASSISTANT: {message.content.strip()}</s>"
    return f"{text}ASSISTANT:"


def chatml(messages: Sequence[Message]) -> str:
    """Render as ChatML, each turn between <|im_start|> and <|im_end|>; a system text that a model
    adds of itself is not added.
    """
    return (
        "".join(
            f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n" for message in messages
        )
        + "<|im_start|>assistant\n"
    )


TEMPLATES = {
    "llama-2": Template("<s>", llama_2),
    "vicuna_v1.1": Template("<s>", vicuna),
    "chatml": Template("", chatml),
    "plain": Template("", plain),
}
