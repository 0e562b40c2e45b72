"""Where an option's tokens begin in the text that it continues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = tuple[int, ...]


def token_ids(text: str, *, tokenizer: PreTrainedTokenizerBase) -> Ids:
    """Return the tokens of a text in which the special tokens are spelled out."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def span(text: str, continuation: str, *, tokenizer: PreTrainedTokenizerBase) -> tuple[Ids, int]:
    """Return the tokens of the whole and where the continuation begins; a token that spans both
    belongs to it.
    """
    context, whole = (
        token_ids(text, tokenizer=tokenizer),
        token_ids(text + continuation, tokenizer=tokenizer),
    )
    return whole, min(common_prefix([context, whole]), len(whole) - 1)


def common_prefix(rows: Sequence[Ids]) -> int:
    """Return how many leading tokens all rows share."""
    low, high = min(rows), max(rows)
    length = 0
    while length < min(len(low), len(high)) and low[length] == high[length]:
        length += 1
    return length
