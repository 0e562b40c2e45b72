"""Tokens of a text, and where the tokens of an option begin after its prompt."""

from collections.abc import Sequence

from comptrust.models.base import Tokenizer

Ids = tuple[int, ...]


def token_ids(text: str, *, tokenizer: Tokenizer) -> Ids:
    """Return the tokens of a text that already contains its special tokens."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def span(text: str, continuation: str, *, tokenizer: Tokenizer) -> tuple[Ids, Ids]:
    """Return the tokens of a text, and those of its continuation.

    A token that spans both belongs to the continuation.
    """
    context = token_ids(text, tokenizer=tokenizer)
    whole = token_ids(text + continuation, tokenizer=tokenizer)
    begin = min(common_prefix([context, whole]), len(whole) - 1)
    return whole[:begin], whole[begin:]


def common_prefix(rows: Sequence[Ids]) -> int:
    """Return how many leading tokens all rows share."""
    # what the smallest and the largest row share, all rows between them share too
    low, high = min(rows), max(rows)
    length = 0
    while length < min(len(low), len(high)) and low[length] == high[length]:
        length += 1
    return length
