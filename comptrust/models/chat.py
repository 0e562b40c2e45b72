"""Chat templates: how messages become the text that a model sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from comptrust.errors import UserError, unknown
from comptrust.models import own_template
from comptrust.models.base import Tokenizer
from comptrust.records import Message

VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


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
    arguments: own_template.Arguments = own_template.NO_ARGUMENTS,
    prefill: str = "",
) -> str:
    """Return the text up to the point where the answer begins, including special tokens.

    A single message of role `completion` is used as it is. Otherwise `template` names one of
    TEMPLATES; None means the model's own, with its `arguments`, or plain paragraphs if it
    has none (a base model). Raises UserError for an unknown template or argument.
    """
    if tokenizer is None and template is None:
        raise UserError(
            f"Without the model's tokenizer, a template must be named: {', '.join(TEMPLATES)}."
        )
    form = None if template is None else named(template)
    own = form is None and tokenizer is not None and tokenizer.chat_template is not None
    if arguments and not own:
        raise UserError(
            f"template_args {', '.join(arguments)}: only a model's own chat template has arguments,"
            f" and the template here is {template or 'plain'}. Leave them out."
        )
    completes = any(message.role == "completion" for message in messages)
    if own and tokenizer and not completes:
        return own_template.fill(messages, tokenizer=tokenizer, arguments=arguments) + prefill
    start = bos(tokenizer) if tokenizer is not None else form.begin if form else ""
    if completes:
        if len(messages) != 1:
            raise UserError("A prompt with a completion message has exactly one message.")
        return start + messages[0].content + prefill
    if form is not None:
        return (form.begin or start) + form.turns(messages) + prefill
    return start + plain(messages) + prefill


def answered(question: str, answer: str, *, tokenizer: Tokenizer, template: str | None) -> str:
    """Return a finished exchange, as a model reads it in calibration."""
    user = Message(role="user", content=question)
    if template is None and tokenizer.chat_template is not None:
        turns = (user, Message(role="assistant", content=answer))
        return own_template.fill(turns, tokenizer=tokenizer, answered=True)
    begin = render([user], tokenizer=tokenizer, template=template)
    if template in (None, "plain"):
        return begin + answer
    space = "" if begin.endswith("\n") else " "
    return f"{begin}{space}{answer}{tokenizer.eos_token or ''}"


def bos(tokenizer: Tokenizer) -> str:
    """Return the token that the tokenizer puts before plain text, or an empty string."""
    adds_it = tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    return (tokenizer.bos_token or "") if adds_it else ""


def name_of(
    template: str | None,
    tokenizer: Tokenizer | None,
    arguments: own_template.Arguments = own_template.NO_ARGUMENTS,
) -> str:
    """Return the name under which the way to render is recorded."""
    if template or tokenizer is None:
        return template or "server"
    return own_template.describe(tokenizer, arguments) if tokenizer.chat_template else "plain"


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
