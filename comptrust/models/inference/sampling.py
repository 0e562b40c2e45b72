"""How the next token is chosen: the likeliest, or one drawn by the row's own chance, whatever other
rows are computed with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from comptrust.models.inference.spans import Ids
from comptrust.records import Prompt

LIKELIEST = 1024
"""Tokens that are sorted to find those of top-p; all are, where these do not suffice."""


@dataclass(frozen=True, eq=False)
class Row:
    """One answer to give: a prompt's tokens, and the copy among its answers that this is."""

    prompt: Prompt
    ids: Ids
    copy: int = 0

    @cached_property
    def chance(self) -> torch.Generator:
        """Return a source of chance that belongs to this prompt and copy alone."""
        name = f"{self.prompt.dimension}/{self.prompt.id}/{self.prompt.sampling.seed}/{self.copy}"
        return torch.Generator().manual_seed(
            int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
        )


def next_tokens(logits: torch.Tensor, rows: Sequence[Row]) -> list[int]:
    """Return the next token of each row from its logits, shape (rows, vocabulary)."""
    tokens: list[int] = logits.max(
        dim=-1
    ).indices.tolist()  # on a CPU, several times as fast as argmax
    for at, row in enumerate(rows):
        if row.prompt.sampling.temperature > 0:
            tokens[at] = _drawn(logits[at].cpu(), row)
    return tokens


def _drawn(logits: torch.Tensor, row: Row) -> int:
    """Draw one token at the row's temperature and top-p: the first whose cumulated chance passes a
    number drawn between 0 and all.
    """
    chances = (logits / row.prompt.sampling.temperature).softmax(dim=-1).double()
    order = None
    if row.prompt.sampling.top_p < 1:
        chances, order = _likeliest(chances, row.prompt.sampling.top_p)
    sums = chances.cumsum(dim=-1)
    drawn = torch.rand((), generator=row.chance, dtype=torch.float64) * sums[-1]
    place = int(torch.searchsorted(sums, drawn, right=True))
    return place if order is None else int(order[place])


def _likeliest(chances: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the fewest likeliest tokens that reach top_p together: their chances, in descending
    order, and which they are.
    """
    for count in (min(LIKELIEST, len(chances)), len(chances)):
        ordered, order = chances.topk(count)
        before = ordered.cumsum(dim=-1) - ordered
        kept = int((before <= top_p).sum())
        if kept < count:
            break
    return ordered[:kept], order[:kept]
