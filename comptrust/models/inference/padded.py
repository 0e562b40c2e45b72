"""Read and decode rows of tokens in padded batches, as any model of transformers on any device can;
one beginning is shared by a batch.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from comptrust.models.inference.sampling import Row, next_tokens
from comptrust.models.inference.spans import Ids, common_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH = 32
"""Rows computed at once if nothing else is asked for."""
HEAD = 48
"""Leading tokens that rows must share to be decoded together."""

Cache = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of a shared beginning, one pair a layer, each of shape (1, heads, length,
size)."""


class Padded:
    """Computes rows with any model, where `packed` cannot: on accelerators, and with attentions of
    other kinds.
    """

    def __init__(self, model: PreTrainedModel, *, batch_size: int | None, ends: set[int]) -> None:
        """Compute `batch_size` rows at once, decoding each up to one of the tokens `ends`."""
        self.model = model
        self.batch_size = batch_size or BATCH
        self.ends = ends

    def logliks(self, pairs: Iterable[tuple[Ids, Ids]]) -> dict[tuple[Ids, Ids], float]:
        """Return the mean log-likelihood per token of each option after its context, of pairs
        (context, option).

        Each context is computed once, after a beginning that all share, and its options go on from
        its cache.
        """
        options: dict[Ids, list[Ids]] = defaultdict(list)
        for context, option in pairs:
            options[context].append(option)
        ordered = sorted(options, key=len)
        prefix = self._shared(ordered)
        cache = self._prefix_cache(ordered[0][:prefix]) if prefix else None
        values: dict[tuple[Ids, Ids], float] = {}
        for start in range(0, len(ordered), self.batch_size):
            batch = ordered[start : start + self.batch_size]
            ids, mask = self._pad([row[prefix:] for row in batch], prefix=prefix)
            past = self._past(cache, len(batch))
            first = self._step(ids, mask, past)[:, -1].log_softmax(dim=-1)
            asked = [(at, row, option) for at, row in enumerate(batch) for option in options[row]]
            found = [[float(first[at, option[0]])] for at, _, option in asked]
            longer = [number for number, (_, _, option) in enumerate(asked) if len(option) > 1]
            if longer:
                rows = torch.tensor([asked[number][0] for number in longer], device=mask.device)
                past.batch_select_indices(rows)
                ids, own = self._pad(
                    [asked[number][2][:-1] for number in longer], prefix=0, left=False
                )
                later = self._step(
                    ids, torch.cat([mask[rows], own], dim=1), past, keep=ids.shape[1]
                ).log_softmax(dim=-1)
                for at, number in enumerate(longer):
                    found[number] += [
                        float(later[at, place, token])
                        for place, token in enumerate(asked[number][2][1:])
                    ]
            values |= {
                (row, option): sum(one) / len(one)
                for (_, row, option), one in zip(asked, found, strict=True)
            }
        return values

    def decode(self, rows: Sequence[Row]) -> Iterator[tuple[Row, list[int]]]:
        """Yield each row with its new tokens, the one that ended it included; rows that begin alike
        are computed together.
        """
        heads = Counter(row.ids[:HEAD] for row in rows)
        alike: dict[tuple[int, Ids], list[Row]] = defaultdict(list)
        for row in rows:
            head = row.ids[:HEAD]
            alike[
                row.prompt.sampling.max_tokens, head if heads[head] >= self.batch_size // 2 else ()
            ].append(row)
        for members in alike.values():
            members.sort(key=lambda row: len(row.ids))
            prefix = self._shared([row.ids for row in members])
            cache = self._prefix_cache(members[0].ids[:prefix]) if prefix else None
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                yield from zip(batch, self._decoded(batch, cache=cache, prefix=prefix), strict=True)

    def _decoded(
        self, batch: Sequence[Row], *, cache: Cache | None, prefix: int
    ) -> list[list[int]]:
        """Return the new tokens of each row after its cached beginning; rows that ended are not
        computed on.
        """
        ids, mask = self._pad([row.ids[prefix:] for row in batch], prefix=prefix)
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

    def _ended(self, tokens: list[int], row: Row) -> bool:
        return tokens[-1] in self.ends or len(tokens) == row.prompt.sampling.max_tokens

    def _shared(self, rows: Sequence[Ids]) -> int:
        """Return how many leading tokens to compute once; none where layers look at a window, which
        the padding after them would shift.
        """
        if len(rows) < 2 or getattr(self.model.config.get_text_config(), "sliding_window", None):
            return 0
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
        """Feed ids, shape (rows, new), after what `past` holds, which grows by them; return the
        last `keep` logits of each row.
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
        """Pad on one side; return ids, shape (rows, longest), and the attention mask, shape (rows,
        prefix + longest).
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
