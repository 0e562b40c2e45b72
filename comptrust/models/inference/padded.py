"""The engine for any model on any device: rows are padded to the length of the longest in a batch.

One beginning, which all rows of a batch share, is computed once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from comptrust.models.inference.sampling import Request, next_tokens
from comptrust.models.inference.spans import Ids, common_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DEFAULT_BATCH_SIZE = 32
"""Rows computed at once."""
GROUPING_TOKENS = 48
"""Leading tokens that requests must share to be decoded together."""

Cache = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of a shared beginning by layer, each of shape (1, heads, length, size)."""


class Padded:
    """An Engine for models that Packed cannot compute: on accelerators, or with other attention."""

    def __init__(self, model: PreTrainedModel, *, batch_size: int | None, ends: set[int]) -> None:
        """Compute `batch_size` rows at once."""
        self.model = model
        self.batch_size = batch_size or DEFAULT_BATCH_SIZE
        self.ends = ends

    def logliks(self, pairs: Iterable[tuple[Ids, Ids]]) -> dict[tuple[Ids, Ids], float]:
        """Return the mean log-likelihood per token of each option; see Engine.

        Each context is computed once, and its options continue from its cache.
        """
        options: dict[Ids, list[Ids]] = defaultdict(list)
        for context, option in pairs:
            options[context].append(option)
        contexts = sorted(options, key=len)
        prefix = self._shared(contexts)
        cache = self._prefix_cache(contexts[0][:prefix]) if prefix else None
        means: dict[tuple[Ids, Ids], float] = {}
        for start in range(0, len(contexts), self.batch_size):
            batch = contexts[start : start + self.batch_size]
            scored = [
                (row, option) for row, context in enumerate(batch) for option in options[context]
            ]
            values = self._option_values(batch, scored, cache=cache, prefix=prefix)
            for (row, option), per_token in zip(scored, values, strict=True):
                means[batch[row], option] = sum(per_token) / len(per_token)
        return means

    def _option_values(
        self,
        batch: Sequence[Ids],
        scored: Sequence[tuple[int, Ids]],
        *,
        cache: Cache | None,
        prefix: int,
    ) -> list[list[float]]:
        """Return the log-likelihood of each token of options, given as (row of context, option)."""
        ids, mask = self._pad([context[prefix:] for context in batch], prefix=prefix)
        past = self._past(cache, len(batch))
        # The context's last token scores every option's first token.
        first = self._step(ids, mask, past)[:, -1].log_softmax(dim=-1)
        values = [[float(first[row, option[0]])] for row, option in scored]
        longer = [number for number, (_, option) in enumerate(scored) if len(option) > 1]
        if not longer:
            return values
        # The other tokens need a pass of their own, with one copy of the cache for each option.
        rows = torch.tensor([scored[number][0] for number in longer], device=mask.device)
        past.batch_select_indices(rows)
        rest = [scored[number][1] for number in longer]
        ids, own = self._pad([option[:-1] for option in rest], prefix=0, left=False)
        logits = self._step(ids, torch.cat([mask[rows], own], dim=1), past, keep=ids.shape[1])
        later = logits.log_softmax(dim=-1)
        for row, (number, option) in enumerate(zip(longer, rest, strict=True)):
            values[number] += [float(later[row, at, token]) for at, token in enumerate(option[1:])]
        return values

    def decode(self, requests: Sequence[Request]) -> Iterator[tuple[Request, list[int]]]:
        """Yield each request with its new tokens; see Engine."""
        counts = Counter(request.ids[:GROUPING_TOKENS] for request in requests)
        groups: dict[tuple[int, Ids], list[Request]] = defaultdict(list)
        for request in requests:
            head = request.ids[:GROUPING_TOKENS]
            # too few requests with this beginning would not fill a batch of their own
            common = head if counts[head] >= self.batch_size // 2 else ()
            groups[request.prompt.sampling.max_tokens, common].append(request)
        for members in groups.values():
            members.sort(key=lambda request: len(request.ids))
            prefix = self._shared([request.ids for request in members])
            cache = self._prefix_cache(members[0].ids[:prefix]) if prefix else None
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                yield from zip(batch, self._decoded(batch, cache=cache, prefix=prefix), strict=True)

    def _decoded(
        self, batch: Sequence[Request], *, cache: Cache | None, prefix: int
    ) -> list[list[int]]:
        """Return the new tokens of each request; rows that ended leave the computation."""
        ids, mask = self._pad([request.ids[prefix:] for request in batch], prefix=prefix)
        past = self._past(cache, len(batch))
        tokens: list[list[int]] = [[] for _ in batch]
        computed = list(range(len(batch)))
        while True:
            new = next_tokens(self._step(ids, mask, past)[:, -1], [batch[row] for row in computed])
            for row, token in zip(computed, new, strict=True):
                tokens[row].append(token)
            still = [
                at for at, row in enumerate(computed) if not self._ended(tokens[row], batch[row])
            ]
            if not still:
                return tokens
            if len(still) < len(computed):
                past.batch_select_indices(torch.tensor(still, device=mask.device))
                mask, computed = mask[still], [computed[at] for at in still]
            ids = torch.tensor([tokens[row][-1:] for row in computed], device=mask.device)
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)

    def _ended(self, tokens: list[int], request: Request) -> bool:
        return tokens[-1] in self.ends or len(tokens) == request.prompt.sampling.max_tokens

    def _shared(self, rows: Sequence[Ids]) -> int:
        """Return how many leading tokens to compute once.

        None if layers attend to a window: the padding that follows would shift it.
        """
        if len(rows) < 2 or getattr(self.model.config.get_text_config(), "sliding_window", None):
            return 0
        # every row keeps at least one token of its own, whose logits are needed
        return max(0, min(common_prefix(rows), min(len(row) for row in rows) - 1))

    def _prefix_cache(self, ids: Ids) -> Cache:
        with torch.inference_mode():
            output = self.model(
                torch.tensor([ids], device=self.model.device), use_cache=True, logits_to_keep=1
            )
        return [(layer.keys, layer.values) for layer in output.past_key_values.layers]

    def _step(
        self, ids: torch.Tensor, mask: torch.Tensor, past: DynamicCache, *, keep: int = 1
    ) -> torch.Tensor:
        """Feed ids, shape (rows, new), after the tokens in `past`, which grows by them.

        `mask` is (rows, tokens in `past` plus new). Returns the last `keep` logits of each row.
        """
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode():
            output = self.model(
                ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=past,
                use_cache=True,
                logits_to_keep=keep,
            )
        logits: torch.Tensor = output.logits.float()
        return logits

    def _past(self, cache: Cache | None, count: int) -> DynamicCache:
        """Return a cache that holds the shared beginning for `count` rows, or nothing."""
        past = DynamicCache()
        for index, (keys, values) in enumerate(cache or []):
            past.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), index)
        return past

    def _pad(
        self, rows: Sequence[Ids], *, prefix: int, left: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad rows on one side to the longest.

        Returns ids, shape (rows, longest), and the attention mask, shape (rows, prefix + longest).
        """
        longest = max(len(row) for row in rows)
        pad = next(iter(self.ends), 0)

        def padded(row: Sequence[int], value: int) -> list[int]:
            fill = [value] * (longest - len(row))
            return [*fill, *row] if left else [*row, *fill]

        ids = torch.tensor([padded(row, pad) for row in rows], device=self.model.device)
        mask = torch.tensor(
            [[1] * prefix + padded([1] * len(row), 0) for row in rows], device=self.model.device
        )
        return ids, mask
