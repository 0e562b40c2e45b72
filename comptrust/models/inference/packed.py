"""The engine for CPUs: rows are computed without padding, and shared beginnings once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from transformers import PreTrainedModel

from comptrust.models.inference.attention import KeyValues, Tail
from comptrust.models.inference.decoding import Decoding, Group
from comptrust.models.inference.engine import Request, RowEngine, longest_options, rows_of
from comptrust.models.inference.reading import Reader, forward
from comptrust.models.inference.tokens import Beginning, Ids

MIN_ROWS_PER_SHARED_BEGINNING = 6
"""Rows of a batch that must share a beginning to attend to it together while decoding."""
MAX_LIVE_SHARE_TO_COMPACT = 0.75
"""Share of a batch still being decoded, at or below which the ended rows are removed from it."""
MIN_PADDING_SAVED_TO_SPLIT = 2000
"""Places of padding per pass that a further group of rows must save to be worth it."""
MAX_BATCH_BYTES = 4e9
"""Bytes that the keys and values of a batch may take."""
MAX_HELD_BYTES = 1e9
"""Bytes that those of beginnings may take while rows to come are known."""


class Packed(RowEngine):
    """For attention that transformers lets one replace, where nothing else looks at other tokens.

    It decodes fewer rows at once if memory requires it.
    """

    default_batch_size = 256  # more make the matrix products hardly faster
    expected: Reader | None = None
    """Reads the rows that were announced."""

    def expect(self, pairs: Iterable[tuple[Ids, Ids]]) -> None:
        most = int(MAX_HELD_BYTES / _token_bytes(self.model))
        limits = _limits(longest_options(rows_of(pairs)))
        self.expected = Reader(self.model, limits, most_held=most)

    def read(self, keep: Mapping[Ids, int]) -> Iterator[tuple[Ids, torch.Tensor]]:
        reader = self.expected
        if reader is None or not keep.keys() <= reader.tree.keys():
            reader = Reader(self.model, _limits(keep))
        return reader.read(keep, keep=keep)

    def decode(self, requests: Sequence[Request]) -> Iterator[tuple[Request, list[int]]]:
        by_length: dict[int, dict[Ids, list[Request]]] = defaultdict(lambda: defaultdict(list))
        for request in requests:
            by_length[request.prompt.sampling.max_tokens][request.ids].append(request)
        for max_tokens, by_prompt in by_length.items():
            reader = Reader(self.model, {ids: len(ids) - 1 for ids in by_prompt})
            # in the reader's order, prompts with a common beginning share a batch
            ordered = [request for ids in reader.tree for request in by_prompt[ids]]
            row_bytes = _token_bytes(self.model) * (max(map(len, by_prompt)) + max_tokens)
            count = max(1, min(self.batch_size, int(MAX_BATCH_BYTES / row_bytes)))
            for start in range(0, len(ordered), count):
                yield from self._decode_batch(ordered[start : start + count], reader)

    def _decode_batch(
        self, batch: Sequence[Request], reader: Reader
    ) -> Iterator[tuple[Request, list[int]]]:
        requests, decoding, logits = _start(batch, reader)
        tokens: list[list[int]] = [[] for _ in requests]
        # `live` rows are still being decoded; `computed` ones, ended or not, are in the pass
        computed = live = list(range(len(requests)))
        while True:
            new = self.pick(logits, [requests[row] for row in live])
            for row, token in zip(live, new, strict=True):
                tokens[row].append(token)
            ended = {row for row in live if self.has_ended(requests[row], tokens[row])}
            yield from ((requests[row], tokens[row]) for row in sorted(ended))
            live = [row for row in live if row not in ended]
            if not live:
                return
            is_live = set(live)
            # Removing rows copies the keys and values of all others, so it waits until it pays.
            if len(live) <= MAX_LIVE_SHARE_TO_COMPACT * len(computed):
                decoding.keep(torch.tensor([row in is_live for row in computed]))
                computed = live
            for group in decoding.groups:
                group.used += 1
            logits = forward(
                self.model,
                [tokens[row][-1] for row in computed],
                [len(requests[row].ids) + len(tokens[row]) - 1 for row in computed],
                decoding,
                keep=[place for place, row in enumerate(computed) if row in is_live],
            )


def _start(
    batch: Sequence[Request], reader: Reader
) -> tuple[list[Request], Decoding, torch.Tensor]:
    """Read the prompts of a batch.

    Returns the requests in the order of their rows, the pass that continues them, and the logits
    of each one's first new token.
    """
    bases = _bases(batch, reader)
    own = {ids: len(ids) - (base.end if base else 0) for ids, base in bases.items()}
    stores: dict[Beginning, KeyValues] = {}
    tails: dict[Ids, Tail] = {}
    ordered: list[Request] = []
    groups: list[Group] = []
    for members in _split(batch, own):
        longest = max(own[request.ids] for request in members)
        store = KeyValues(longest + members[0].prompt.sampling.max_tokens)
        mask = torch.zeros(len(members), store.room)
        for row, request in enumerate(members):
            length = own[request.ids]
            tail = Tail(store, [], (len(members), longest), len(request.ids) - length)
            tails.setdefault(request.ids, tail).rows.append(row)
            mask[row, : longest - length] = -torch.inf
        ordered += members
        groups.append(
            Group(store, mask, [bases[request.ids] for request in members], stores, longest)
        )
    first: dict[Ids, torch.Tensor] = {}
    for ids, logits in reader.read(tails, keep=dict.fromkeys(tails, 1), tails=tails):
        first[ids] = logits[-1]
        # the reader lets go of a beginning once its rows are read, but decoding still needs it
        if base := bases[ids]:
            stores.setdefault(base, reader.held[base])
    return ordered, Decoding(groups), torch.stack([first[request.ids] for request in ordered])


def _bases(batch: Sequence[Request], reader: Reader) -> dict[Ids, Beginning | None]:
    """Return for each prompt the longest beginning that enough rows of the batch share."""
    rows = Counter(node for request in batch for node in reader.tree[request.ids])
    enough = {node for node, count in rows.items() if count >= MIN_ROWS_PER_SHARED_BEGINNING}
    paths = {request.ids: reversed(reader.tree[request.ids]) for request in batch}
    return {ids: next(filter(enough.__contains__, path), None) for ids, path in paths.items()}


def _split(batch: Sequence[Request], own: Mapping[Ids, int]) -> list[list[Request]]:
    """Split a batch into groups where the padding this saves is worth the extra products.

    Rows of a group are padded to its longest. Each group keeps the order of the batch.
    """
    ordered = sorted(batch, key=lambda request: own[request.ids])
    lengths = [own[request.ids] for request in ordered]
    # The `count` shortest rows save the padding between the longest of them and the longest of all.
    # Rows of equal length, such as several answers to a prompt, always end up on the same side.
    saved, cut = max(
        ((count * (lengths[-1] - lengths[count - 1]), count) for count in range(1, len(batch))),
        default=(0, 0),
    )
    if saved < MIN_PADDING_SAVED_TO_SPLIT:
        return [list(batch)]
    shorter = set(ordered[:cut])
    parts = (
        [request for request in batch if request in shorter],
        [request for request in batch if request not in shorter],
    )
    return [group for part in parts for group in _split(part, own)]


def _limits(keep: Mapping[Ids, int]) -> dict[Ids, int]:
    """Return how many leading tokens of each row may be shared.

    An option's logits begin with those of its context's last token.
    """
    return {row: len(row) - count for row, count in keep.items()}


def _token_bytes(model: PreTrainedModel) -> int:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)
