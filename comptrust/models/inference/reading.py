"""Read prompts: each row after its shared beginning, which is computed once.

Tokens of many rows go through the model in one pass, so that its matrix products are large.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from transformers import PreTrainedModel

from comptrust.models.inference.attention import NAME, KeyValues, Pass, Reading, Tail
from comptrust.models.inference.tokens import Beginning, Ids, shared_beginnings

MIN_TOKENS_PER_PASS = 1024
"""A pass is run as soon as it has this many tokens."""


class Reader:
    """Reads rows, in one call or several.

    It holds each shared beginning until all rows that continue it are read.
    """

    def __init__(
        self, model: PreTrainedModel, limits: Mapping[Ids, int], *, most_held: int | None = None
    ) -> None:
        """Prepare to read these rows, of which at most so many leading tokens may be shared.

        `most_held` is how many tokens beginnings may hold between passes, None for any number; of
        more, those read longest ago are computed again.
        """
        self.model, self.most_held = model, most_held
        self.tree = shared_beginnings(limits)
        """Row -> its shared beginnings, in the order in which rows are read."""
        self.held: dict[Beginning, KeyValues] = {}
        self._unread = set(self.tree)
        self._rows_to_come = Counter(chain.from_iterable(self.tree.values()))
        # a beginning's store has room for the longest row that continues it
        self._room: dict[Beginning, int] = defaultdict(int)
        for row, path in self.tree.items():
            if path:
                self._room[path[-1]] = max(self._room[path[-1]], len(row))

    def read(
        self, rows: Iterable[Ids], *, keep: Mapping[Ids, int], tails: Mapping[Ids, Tail] = {}
    ) -> Iterator[tuple[Ids, torch.Tensor]]:
        """Yield each row with the logits of its last `keep` tokens, shape (keep, vocabulary).

        Keys and values of the tokens after its shared beginning are copied to its tail, if any.
        """
        wanted = set(rows)
        reading = Reading()
        for row in [row for row in self.tree if row in wanted]:
            begin, parent = 0, None
            for node in self.tree[row]:
                if node in self.held:
                    self.held[node] = self.held.pop(node)  # as the last one used
                else:
                    self.held[node] = KeyValues(max(self._room[node], node.end))
                    reading.add(node.ids, begin=begin, parent=parent, store=self.held[node])
                begin, parent = node.end, self.held[node]
            tail = tails.get(row)
            reading.add(row[begin:], begin=begin, parent=parent, store=parent, tail=tail)
            reading.stops[row] = len(reading.ids)
            if len(reading.ids) >= MIN_TOKENS_PER_PASS:
                yield from self._run(reading, keep)
                reading = Reading()
        if reading.ids:
            yield from self._run(reading, keep)

    def _run(self, reading: Reading, keep: Mapping[Ids, int]) -> Iterator[tuple[Ids, torch.Tensor]]:
        places = [
            place for row, stop in reading.stops.items() for place in range(stop - keep[row], stop)
        ]
        logits = forward(self.model, reading.ids, reading.positions, reading, keep=places)
        parts = torch.split(logits, [keep[row] for row in reading.stops])
        yield from zip(reading.stops, parts, strict=True)
        for row in reading.stops:
            for node in self.tree[row]:
                self._rows_to_come[node] -= row in self._unread
                if self._rows_to_come[node] <= 0:
                    self.held.pop(node, None)
        self._unread.difference_update(reading.stops)
        if self.most_held is not None:
            while sum(store.room for store in self.held.values()) > self.most_held:
                del self.held[next(iter(self.held))]


def forward(
    model: PreTrainedModel,
    ids: Sequence[int],
    positions: Sequence[int],
    step: Pass,
    *,
    keep: Sequence[int],
) -> torch.Tensor:
    """Run one pass; return the logits at the places `keep`, shape (kept, vocabulary)."""
    call: Any = model
    usual = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        with torch.inference_mode():
            output = call(
                torch.tensor([ids]),
                position_ids=torch.tensor([positions]),
                use_cache=False,
                logits_to_keep=torch.tensor(keep, dtype=torch.long),
                step=step,
            )
    finally:
        model.set_attn_implementation(usual)
    return torch.as_tensor(output.logits[0], dtype=torch.float32)
