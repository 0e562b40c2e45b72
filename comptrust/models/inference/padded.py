"""The engine for any model on any device: rows are padded to the length of the longest in a batch.

One beginning, which all rows of a batch share, is computed once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from comptrust.models.inference.engine import Engine, Request, next_tokens
from comptrust.models.inference.tokens import Ids, common_prefix

GROUPING_TOKENS = 48
"""Leading tokens that requests must share to be decoded together."""

Cache = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of a shared beginning by layer, each of shape (1, heads, length, size)."""


class Padded(Engine):
    """For models that Packed cannot compute: on accelerators, or with other attention."""

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
        ids, own = self._pad([option[:-1] for option in rest], prefix=0, side="right")
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
        ids, mask = self._pad([request.ids[prefix:] for request in batch], prefix=prefix)
        past = self._past(cache, len(batch))
        tokens: list[list[int]] = [[] for _ in batch]
        computed = list(range(len(batch)))
        while True:
            new = next_tokens(self._step(ids, mask, past)[:, -1], [batch[row] for row in computed])
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
        """Return how many leading tokens of the rows to compute once, and their keys and values.

        None if layers attend to a window: the padding that follows would shift it.
        """
        length = 0
        if len(rows) > 1 and not getattr(
            self.model.config.get_text_config(), "sliding_window", None
        ):
            # every row keeps at least one token of its own, whose logits are needed
            length = min(common_prefix(rows), min(map(len, rows)) - 1)
        if length < 1:
            return 0, []
        ids = torch.tensor([rows[0][:length]], device=self.model.device)
        with torch.inference_mode():
            output = self.model(ids, use_cache=True, logits_to_keep=1)
        return length, [(layer.keys, layer.values) for layer in output.past_key_values.layers]

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

    def _past(self, cache: Cache, count: int) -> DynamicCache:
        """Return a cache that holds the shared beginning for `count` rows, or nothing."""
        return DynamicCache(
            [
                (keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1))
                for keys, values in cache
            ]
        )

    def _pad(
        self, rows: Sequence[Ids], *, prefix: int, side: str = "left"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad rows on one side to the longest.

        Returns ids, shape (rows, longest), and the attention mask, shape (rows, prefix + longest).
        """
        tokens = [torch.tensor(row, device=self.model.device) for row in rows]
        pad = partial(pad_sequence, batch_first=True, padding_side=side)
        ids = pad(tokens, padding_value=next(iter(self.ends), 0))
        mask = pad([torch.ones_like(row) for row in tokens])
        return ids, torch.nn.functional.pad(mask, (prefix, 0), value=1)
