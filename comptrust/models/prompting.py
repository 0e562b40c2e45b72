"""Can a model be asked these prompts? Answered from its tokenizer and config, without weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from comptrust.errors import UserError
from comptrust.models import chat, loading
from comptrust.models.base import Tokenizer
from comptrust.models.inference.tokens import token_ids
from comptrust.models.own_template import NO_ARGUMENTS, Arguments
from comptrust.records import Prompt


def check(
    folder: Path,
    prompts: Sequence[Prompt] = (),
    *,
    template: str | None = None,
    arguments: Arguments = NO_ARGUMENTS,
) -> None:
    """Raise UserError if the first prompt of some scenario cannot be rendered or read.

    It can be read if the model has an embedding of each of its tokens.
    """
    tokenizer = loading.tokenizer(folder)
    rows = _embeddings(folder)
    if rows is not None:
        _check_vocabulary(folder, tokenizer, rows)
    scenarios = {(prompt.dimension, prompt.scenario): prompt for prompt in reversed(prompts)}
    for prompt in scenarios.values():
        text = chat.render(
            prompt.messages, tokenizer=tokenizer, template=template, arguments=arguments
        )
        if rows is not None and max(token_ids(text, tokenizer=tokenizer), default=0) >= rows:
            raise _too_small(folder, rows, f"prompt '{prompt.id}' has tokens beyond them")


def _embeddings(folder: Path) -> int | None:
    """Return the number of tokens that config.json has embeddings for; None if it does not say."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception:
        return None  # loading says what is wrong with it
    return getattr(config.get_text_config(), "vocab_size", None)


def _check_vocabulary(folder: Path, tokenizer: Tokenizer, rows: int) -> None:
    # A special token that no prompt has, such as one for padding, does no harm.
    added = tokenizer.added_tokens_decoder.items()
    special = {number for number, token in added if token.special}
    beyond = [
        token
        for token, number in tokenizer.get_vocab().items()
        if number >= rows and number not in special
    ]
    if beyond:
        raise _too_small(
            folder, rows, f"its tokenizer has {len(beyond)} more, such as {min(beyond)}"
        )


def _too_small(folder: Path, rows: int, what: str) -> UserError:
    return UserError(
        f"The model in {folder} has embeddings of {rows} tokens, but {what}: tokenizer and weights"
        " belong to different models. Fetch the model again."
    )
