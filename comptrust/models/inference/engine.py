"""What an inference engine does, and how it chooses tokens. README.md explains the engines.

The next token is the most likely one, or one drawn at random. Each request draws from a random
generator of its own, so its text does not depend on which other requests are computed with it.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from comptrust.models.base import seed
from comptrust.models.inference.tokens import Ids
from comptrust.records import Prompt

TOP_TOKENS_TRIED_FIRST = 1024
"""Tokens sorted first to find those of top-p; the whole vocabulary is sorted only if they do not
reach it.
"""


@dataclass(eq=False)
class Request:
    """One answer to generate: a prompt's tokens, and which of its answers this is."""

    prompt: Prompt
    ids: Ids
    copy: int = 0
    finite: bool = True
    """Whether all logits were numbers; if not, it has ended."""

    @cached_property
    def generator(self) -> torch.Generator:
        """Return a random generator seeded by this prompt and copy alone."""
        return torch.Generator().manual_seed(seed(self.prompt, copy=self.copy))


class Engine(ABC):
    """Computes option likelihoods and generated tokens with one model.

    The result for a row does not depend on the rows computed with it, except for rounding.
    """

    default_batch_size: ClassVar[int]
    """Rows computed at once, unless another number is given."""

    def __init__(self, model: PreTrainedModel, *, batch_size: int | None, ends: set[int]) -> None:
        """Compute `batch_size` rows at once, and end a text at one of the tokens `ends`."""
        self.model, self.ends = model, ends
        self.batch_size = batch_size or self.default_batch_size
        self.pick: Callable[[torch.Tensor, Sequence[Request]], list[int]] = next_tokens
        """Chooses the next token of each request."""

    @abstractmethod
    def logliks(self, pairs: Iterable[tuple[Ids, Ids]]) -> dict[tuple[Ids, Ids], float]:
        """Return the mean log-likelihood per token of each option, given pairs (context, option).

        Contexts and options are token ids; neither may be empty.
        """

    def expect(self, pairs: Iterable[tuple[Ids, Ids]]) -> None:  # noqa: B027 - most keep nothing
        """Take note of the pairs that will be scored a few at a time, in whatever order."""

    @abstractmethod
    def decode(self, requests: Sequence[Request]) -> Iterator[tuple[Request, list[int]]]:
        """Yield each request with its new tokens, including the one that ended it."""

    def has_ended(self, request: Request, tokens: Sequence[int]) -> bool:
        """Tell whether these new tokens of a request are complete."""
        last = len(tokens) == request.prompt.sampling.max_tokens or not request.finite
        return last or bool(self.ends.intersection(tokens[-1:]))

    def pad(self, rows: Sequence[Ids], *, side: str = "left") -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ids of rows and their attention mask, both padded to the longest row.

        The padding is a token of a row, since that of a padding token may have no numbers: see
        compression/reload.py.
        """
        tokens = [torch.tensor(row, device=self.model.device) for row in rows]
        filled = partial(pad_sequence, batch_first=True, padding_side=side)
        ids = filled(tokens, padding_value=next((row[0] for row in rows if row), 0))
        return ids, filled([torch.ones_like(row) for row in tokens])


class RowEngine(Engine):
    """Scores options by reading each one after its context, in one row."""

    def logliks(self, pairs: Iterable[tuple[Ids, Ids]]) -> dict[tuple[Ids, Ids], float]:
        by_row, means = rows_of(pairs), {}
        for row, logits in self.read(longest_options(by_row)):
            log_probabilities = logits.log_softmax(dim=-1).cpu()
            for context, option in by_row[row]:
                picked = log_probabilities[-len(option) :].gather(1, torch.tensor(option)[:, None])
                means[context, option] = float(picked.mean())
        return means

    @abstractmethod
    def read(self, keep: Mapping[Ids, int]) -> Iterator[tuple[Ids, torch.Tensor]]:
        """Yield each row of `keep` with the logits of so many last tokens, (tokens, vocabulary)."""


def rows_of(pairs: Iterable[tuple[Ids, Ids]]) -> dict[Ids, list[tuple[Ids, Ids]]]:
    """Return the rows to read, each with the pairs that it scores.

    The logits before an option's last token score all of it, so that token is not computed. Options
    that differ only there are scored by one row.
    """
    by_row: dict[Ids, list[tuple[Ids, Ids]]] = defaultdict(list)
    for context, option in pairs:
        by_row[context + option[:-1]].append((context, option))
    return by_row


def longest_options(by_row: Mapping[Ids, Sequence[tuple[Ids, Ids]]]) -> dict[Ids, int]:
    """Return how many of the last logits of each row its options need."""
    return {row: max(len(option) for _, option in pairs) for row, pairs in by_row.items()}


def next_tokens(logits: torch.Tensor, requests: Sequence[Request]) -> list[int]:
    """Return the next token of each request from its logits, shape (requests, vocabulary).

    A request whose logits are not numbers is marked so.
    """
    # on a CPU, max is several times as fast as argmax
    largest, indices = logits.max(dim=-1)
    tokens: list[int] = indices.tolist()
    for row, (request, finite) in enumerate(
        zip(requests, largest.isfinite().tolist(), strict=True)
    ):
        request.finite = finite
        if finite and request.prompt.sampling.temperature > 0:
            tokens[row] = _drawn(logits[row].cpu(), request)
    return tokens


def _drawn(logits: torch.Tensor, request: Request) -> int:
    """Draw one token at the request's temperature and top-p.

    It is the first token at which the cumulative probability passes a uniform random number.
    """
    sampling = request.prompt.sampling
    probabilities = (logits / sampling.temperature).softmax(dim=-1).double()
    order = None
    if sampling.top_p < 1:
        probabilities, order = _nucleus(probabilities, sampling.top_p)
    cumulative = probabilities.cumsum(dim=-1)
    number = torch.rand((), generator=request.generator, dtype=torch.float64) * cumulative[-1]
    place = int(torch.searchsorted(cumulative, number, right=True))
    return place if order is None else int(order[place])


def _nucleus(probabilities: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the fewest most likely tokens that reach `top_p` together (Holtzman et al. 2020).

    The first tensor holds their probabilities in descending order, the second their indices.
    """
    vocabulary = len(probabilities)
    for count in (min(TOP_TOKENS_TRIED_FIRST, vocabulary), vocabulary):
        ordered, order = probabilities.topk(count)
        kept = int((ordered.cumsum(dim=-1) - ordered <= top_p).sum())
        if kept < count:
            break
    return ordered[:kept], order[:kept]
