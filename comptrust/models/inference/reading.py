"""Read prompts: each row after its shared beginning, which is computed once.

Tokens of many rows go through the model in one pass, so that its matrix products are large.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from comptrust.models.inference.attention import NAME, KeyValues, Pass, Piece, Reading, Tail
from comptrust.models.inference.prefixes import Beginning, shared_beginnings
from comptrust.models.inference.spans import Ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MIN_TOKENS_PER_PASS = 1024
"""A pass is run as soon as it has this many tokens."""


@dataclass
class _Layout:
    """The tokens of a pass, piece by piece."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    stops: dict[Ids, int] = field(default_factory=dict)
    """Row -> where its last token is, plus 1."""

    def add(
        self,
        ids: Sequence[int],
        *,
        begin: int,
        parent: KeyValues | None,
        store: KeyValues | None,
        room: int,
        tail: Tail | None = None,
    ) -> None:
        """Add a piece whose first token is number `begin` of its row; see Piece."""
        start, count = len(self.ids), len(ids)
        end = begin + count
        # A piece that starts its row is plainly causal, and a single token sees all before it;
        # only several tokens after a beginning need a mask.
        mask = torch.ones(count, end, dtype=torch.bool).tril(begin) if begin and count > 1 else None
        self.pieces.append(Piece(start, start + count, begin, parent, store, room, mask, tail))
        self.ids += ids
        self.positions += range(begin, end)


class Reader:
    """Reads rows, and holds each shared beginning until all rows that continue it are read."""

    def __init__(self, model: PreTrainedModel, limits: Mapping[Ids, int]) -> None:
        """Prepare to read these rows, of which at most so many leading tokens may be shared."""
        self.model = model
        self.tree = shared_beginnings(limits)
        """Row -> its longest shared beginning, in the order in which rows are read."""
        self.held: dict[Beginning, KeyValues] = {}
        self._rows_to_come = Counter(
            node for last in self.tree.values() if last for node in last.path()
        )
        # a beginning's store has room for the longest row that continues it
        self._room: dict[Beginning, int] = defaultdict(int)
        for row, last in self.tree.items():
            if last:
                self._room[last] = max(self._room[last], len(row))

    def read(
        self,
        rows: Iterable[Ids],
        *,
        keep: Mapping[Ids, int],
        tails: Mapping[Ids, Tail] | None = None,
    ) -> Iterator[tuple[Ids, torch.Tensor]]:
        """Yield each row with the logits of its last `keep` tokens, shape (keep, vocabulary).

        Keys and values of the tokens after its shared beginning are copied to its tail, if any.
        """
        wanted = set(rows)
        layout = _Layout()
        for row in [row for row in self.tree if row in wanted]:
            last = self.tree[row]
            for node in reversed(list(last.path()) if last else []):
                if node not in self.held:
                    self._add_beginning(layout, node)
            begin, store = (last.end, self.held[last]) if last else (0, None)
            layout.add(
                row[begin:],
                begin=begin,
                parent=store,
                store=store,
                room=self._room[last] if last else 0,
                tail=(tails or {}).get(row),
            )
            layout.stops[row] = len(layout.ids)
            if len(layout.ids) >= MIN_TOKENS_PER_PASS:
                yield from self._run(layout, keep)
                layout = _Layout()
        if layout.ids:
            yield from self._run(layout, keep)

    def _add_beginning(self, layout: _Layout, node: Beginning) -> None:
        self.held[node] = KeyValues()
        layout.add(
            node.ids,
            begin=node.begin,
            parent=self.held[node.parent] if node.parent else None,
            store=self.held[node],
            room=max(self._room[node], node.end),
        )

    def _run(self, layout: _Layout, keep: Mapping[Ids, int]) -> Iterator[tuple[Ids, torch.Tensor]]:
        places = [
            place for row, stop in layout.stops.items() for place in range(stop - keep[row], stop)
        ]
        reading = Reading(layout.pieces)
        logits = forward(self.model, layout.ids, layout.positions, reading, keep=places)
        counts = [keep[row] for row in layout.stops]
        yield from zip(layout.stops, torch.split(logits, counts), strict=True)
        for row in layout.stops:
            last = self.tree[row]
            for node in last.path() if last else ():
                self._rows_to_come[node] -= 1
                if self._rows_to_come[node] <= 0:
                    self.held.pop(node, None)


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
    with torch.inference_mode(), _packed_attention(model):
        output = call(
            torch.tensor([ids]),
            position_ids=torch.tensor([positions]),
            use_cache=False,
            logits_to_keep=torch.tensor(keep, dtype=torch.long),
            step=step,
        )
    logits: torch.Tensor = output.logits[0].float()
    return logits


@contextmanager
def _packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let the model use the attention of attention.py inside the block."""
    usual = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)
