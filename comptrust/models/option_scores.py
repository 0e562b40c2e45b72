"""Log-likelihoods of options as a server gives them: token by token after a text, or echoed.

vLLM's `logprob_token_ids` returns the log-likelihoods of chosen next tokens. So one row of a
request, a text without an option's last token, scores one token of every option that begins like
it, and the prefix cache spares what the rows of a request, and texts that begin alike, share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from comptrust.models.base import Tokenizer
from comptrust.models.inference.tokens import Ids, span

MOST_TOKENS = 128
"""Token ids that vLLM takes in one request."""
LOWEST = -9999.0
"""What vLLM writes instead of minus infinity."""
Pair = tuple[Ids, Ids]
"""The tokens of a text and those of an option."""


def rows(pairs: Sequence[Pair]) -> dict[Ids, set[int]]:
    """Return which next tokens are asked of which rows to score all options, each once."""
    wanted: dict[Ids, set[int]] = {}
    for context, own in pairs:
        for place, token in enumerate(own):
            wanted.setdefault(context + own[:place], set()).add(token)
    return wanted


def requests(wanted: Mapping[Ids, set[int]]) -> Iterator[tuple[list[Ids], list[int]]]:
    """Yield the rows and the token ids of each request, shorter rows first."""
    members: list[Ids] = []
    asked: set[int] = set()
    for row in sorted(wanted, key=len):
        tokens = sorted(wanted[row])
        for start in range(0, len(tokens), MOST_TOKENS):
            part = set(tokens[start : start + MOST_TOKENS])
            if len(asked | part) > MOST_TOKENS:
                yield members, sorted(asked)
                members, asked = [], set()
            members.append(row)
            asked |= part
    if members:
        yield members, sorted(asked)


def body(model: str, members: Sequence[Ids], tokens: Sequence[int]) -> dict[str, Any]:
    """Return the request for the log-likelihoods of next tokens, as vLLM 0.32 takes it."""
    return {
        "model": model,
        "prompt": [list(row) for row in members],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 1,
        "logprob_token_ids": list(tokens),
        "return_tokens_as_token_ids": True,
    }


def next_tokens(choice: Mapping[str, Any]) -> dict[int, float]:
    """Return token -> log-likelihood from one choice of the answer.

    Raises KeyError, TypeError, IndexError or ValueError if the server did not understand.
    """
    values = choice["logprobs"]["top_logprobs"][0]
    found = {int(name.removeprefix("token_id:")): float(value) for name, value in values.items()}
    return {token: value if value > LOWEST else -math.inf for token, value in found.items()}


def means(pairs: Sequence[Pair], known: Mapping[Ids, Mapping[int, float]]) -> list[float]:
    """Return the mean log-likelihood per token of each option. Raises KeyError if one is absent."""
    return [
        sum(known[context + own[:place]][token] for place, token in enumerate(own)) / len(own)
        for context, own in pairs
    ]


def echoed(
    choice: Mapping[str, Any], text: str, option: str, *, tokenizer: Tokenizer | None
) -> float:
    """Return the mean log-likelihood of the tokens of an option that a server has echoed.

    The tokenizer tells which tokens are the option's; without one, the server's offsets do. A token
    that spans both belongs to the option. Raises ValueError, KeyError, TypeError or IndexError if
    the server did not echo and score exactly this text.
    """
    logprobs = choice["logprobs"]
    values, tokens = logprobs["token_logprobs"], logprobs["tokens"]
    if not choice["text"].endswith(option):
        raise ValueError("the prompt was not echoed")
    if tokenizer is not None:
        context, own = span(text, option, tokenizer=tokenizer)
        if len(values) != len(context + own):
            raise ValueError(
                f"the server reads {len(values)} tokens where the tokenizer reads"
                f" {len(context + own)}"
            )
        picked = values[len(context) :]
    else:
        offsets = zip(logprobs["text_offset"], tokens, strict=True)
        ends = [offset + len(token) for offset, token in offsets]
        start = ends[-1] - len(option)
        picked = [value for value, end in zip(values, ends, strict=True) if end > start]
        if not "".join(tokens).endswith(option):
            raise ValueError("the server's tokens do not spell the option")
    if not picked:
        raise ValueError("the option has no token")
    return sum(map(float, picked)) / len(picked)
