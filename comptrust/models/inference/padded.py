"""The engine for attention on any device: rows are padded to the length of the longest in a batch.

One beginning, which all rows of a batch share, is computed once. Padding comes before it, so that
the tokens of a row are neighbors: windows and ALiBi count places, and a gap would shift them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from comptrust.models.inference.engine import Engine, Request
from comptrust.models.inference.tokens import Ids, common_prefix

GROUPING_TOKENS = 48
"""Leading tokens that requests must share to be decoded together."""

Cache = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of a shared beginning by layer, each of shape (1, heads, length, size)."""


class Padded(Engine):
    """For models that Packed cannot compute, if they keep only keys and values of each token."""

    default_batch_size = 32

    def logliks(self, pairs: Iterable[tuple[Ids, Ids]]) -> dict[tuple[Ids, Ids], float]:
        """Return the mean log-likelihood per token of each option; see Engine.

        Each context is computed once, and its options continue from its cache.
        """
        options: dict[Ids, list[Ids]] = defaultdict(list)
        for context, option in pairs:
            options[context].append(option)
        contexts = sorted(options, key=len)
        prefix, cache = self._beginning(contexts)
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
        self, batch: Sequence[Ids], scored: Sequence[tuple[int, Ids]], *, cache: Cache, prefix: int
    ) -> list[list[float]]:
        """Return the log-likelihood of each token of options, given as (row of context, option)."""
        ids, mask, past = self._inputs(batch, cache=cache, prefix=prefix)
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
        ids, own = self.pad([option[:-1] for option in rest], side="right")
        logits = self._step(ids, torch.cat([mask[rows], own], dim=1), past, keep=ids.shape[1])
        later = logits.log_softmax(dim=-1)
        for row, (number, option) in enumerate(zip(longer, rest, strict=True)):
            values[number] += [float(later[row, at, token]) for at, token in enumerate(option[1:])]
        return values

    def decode(self, requests: Sequence[Request]) -> Iterator[tuple[Request, list[int]]]:
        counts = Counter(request.ids[:GROUPING_TOKENS] for request in requests)
        groups: dict[tuple[int, Ids], list[Request]] = defaultdict(list)
        for request in requests:
            head = request.ids[:GROUPING_TOKENS]
            # too few requests with this beginning would not fill a batch of their own
            common = head if counts[head] >= self.batch_size // 2 else ()
            groups[request.prompt.sampling.max_tokens, common].append(request)
        for members in groups.values():
            members.sort(key=lambda request: len(request.ids))
            prefix, cache = self._beginning([request.ids for request in members])
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                yield from zip(batch, self._decoded(batch, cache=cache, prefix=prefix), strict=True)

    def _decoded(self, batch: Sequence[Request], *, cache: Cache, prefix: int) -> list[list[int]]:
        """Return the new tokens of each request; rows that ended leave the computation."""
        ids, mask, past = self._inputs(
            [request.ids for request in batch], cache=cache, prefix=prefix
        )
        tokens: list[list[int]] = [[] for _ in batch]
        computed = list(range(len(batch)))
        while True:
            new = self.pick(self._step(ids, mask, past)[:, -1], [batch[row] for row in computed])
            for row, token in zip(computed, new, strict=True):
                tokens[row].append(token)
            still = [
                at for at, row in enumerate(computed) if not self.has_ended(batch[row], tokens[row])
            ]
            if not still:
                return tokens
            if len(still) < len(computed):
                past.batch_select_indices(torch.tensor(still, device=mask.device))
                mask, computed = mask[still], [computed[at] for at in still]
            ids = torch.tensor([tokens[row][-1:] for row in computed], device=mask.device)
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)

    def _beginning(self, rows: Sequence[Ids]) -> tuple[int, Cache]:
        """Return how many leading tokens of the rows to compute once, and their keys and values."""
        # every row keeps at least one token of its own, whose logits are needed
        length = min(common_prefix(rows), min(map(len, rows)) - 1) if len(rows) > 1 else 0
        if length < 1:
            return 0, []
        ids = torch.tensor([rows[0][:length]], device=self.model.device)
        with torch.inference_mode():
            # without a config, a cache keeps all tokens, also those outside of a window
            past = DynamicCache()
            self.model(ids, past_key_values=past, use_cache=True, logits_to_keep=1)
        layers: Any = past.layers
        return length, [(layer.keys, layer.values) for layer in layers]

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
        return torch.as_tensor(output.logits, dtype=torch.float32)

    def _inputs(
        self, rows: Sequence[Ids], *, cache: Cache, prefix: int
    ) -> tuple[torch.Tensor, torch.Tensor, DynamicCache]:
        """Return the ids to feed, their mask, and the cache of the tokens before them.

        As many last tokens are fed of each row as the longest has after the shared beginning. What
        a shorter row has before them is less of the beginning, aligned to the right.
        """
        ids, mask = self.pad(rows)
        gap = ids.shape[1] - mask.sum(dim=1, keepdim=True)
        places = (torch.arange(prefix, device=ids.device) - gap).clamp(min=0)
        held = [(keys[0][:, places], values[0][:, places]) for keys, values in cache]
        past = DynamicCache(
            [(keys.transpose(0, 1), values.transpose(0, 1)) for keys, values in held]
        )
        return ids[:, prefix:], mask, past
