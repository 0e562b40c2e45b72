"""Read and decode rows of tokens on a CPU without padding; each beginning that several rows share
is computed once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from comptrust.models.inference.attention import (
    NAME,
    Decoding,
    Group,
    Held,
    Piece,
    Reading,
    Step,
    Tail,
)
from comptrust.models.inference.prefixes import Shared, shared_beginnings
from comptrust.models.inference.sampling import Row, next_tokens
from comptrust.models.inference.spans import Ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH = 256
"""Rows decoded at once if nothing else is asked for; more make the matrix products hardly
faster."""
TOKENS = 1024
"""Tokens that go through the model at once while prompts are read."""
TOGETHER = 6
"""Rows of a batch that must share a beginning to be attended to it together while they are
decoded."""
KEPT = 0.75
"""Share of a batch that is still being decoded, at which the ended rows are taken out of it."""
SPARED = 2000
"""Places of own tokens that a batch must leave out in each pass to be worth another group of
rows."""
MEMORY = 4e9
"""Bytes that the keys and values of a batch may take."""
TOLERANCE = 1e-3
"""Largest difference of two logits, as a share of the largest logit, at which two ways to compute
them count as the same.
"""


class Packed:
    """Computes rows with a model whose attention transformers lets one choose (`suits`)."""

    def __init__(self, model: PreTrainedModel, *, batch_size: int | None, ends: set[int]) -> None:
        """Decode `batch_size` rows at once, fewer if memory asks for it, each up to one of the
        tokens `ends`.
        """
        self.model = model
        self.batch_size = batch_size or BATCH
        self.ends = ends

    def logliks(self, pairs: Iterable[tuple[Ids, Ids]]) -> dict[tuple[Ids, Ids], float]:
        """Return the mean log-likelihood per token of each option after its context, of pairs
        (context, option).
        """
        asked: dict[Ids, list[tuple[Ids, Ids]]] = defaultdict(list)
        for context, option in pairs:
            asked[context + option[:-1]].append((context, option))
        reader = Reader(
            self.model,
            {row: min(len(context) for context, _ in many) - 1 for row, many in asked.items()},
        )
        found = {}
        for row, logits in reader.read(
            asked, keep={row: max(len(option) for _, option in many) for row, many in asked.items()}
        ):
            chances = logits.log_softmax(dim=-1)
            for context, option in asked[row]:
                own = chances[-len(option) :].gather(1, torch.tensor(option)[:, None])
                found[context, option] = float(own.mean())
        return found

    def decode(self, rows: Sequence[Row]) -> Iterator[tuple[Row, list[int]]]:
        """Yield each row with its new tokens, the one that ended it included."""
        alike: dict[int, dict[Ids, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            alike[row.prompt.sampling.max_tokens][row.ids].append(row)
        for most, same in alike.items():
            reader = Reader(self.model, {ids: len(ids) - 1 for ids in same})
            ordered = [row for ids in reader.tree for row in same[ids]]
            room = max(len(ids) for ids in same) + most
            count = max(1, min(self.batch_size, int(MEMORY / room / _token_bytes(self.model))))
            for start in range(0, len(ordered), count):
                yield from self._batch(ordered[start : start + count], reader)

    def _batch(self, rows: Sequence[Row], reader: Reader) -> Iterator[tuple[Row, list[int]]]:
        rows, step, logits = _begun(rows, reader)
        tokens: list[list[int]] = [[] for _ in rows]
        computed = list(range(len(rows)))
        live = list(computed)
        while True:
            for row, token in zip(
                live, next_tokens(logits, [rows[row] for row in live]), strict=True
            ):
                tokens[row].append(token)
            ended = {
                row
                for row in live
                if tokens[row][-1] in self.ends
                or len(tokens[row]) == rows[row].prompt.sampling.max_tokens
            }
            yield from ((rows[row], tokens[row]) for row in sorted(ended))
            live = [row for row in live if row not in ended]
            if not live:
                return
            if len(live) <= KEPT * len(computed):
                step.keep([computed.index(row) for row in live])
                computed = list(live)
            step.extend()
            positions = [len(rows[row].ids) + len(tokens[row]) - 1 for row in computed]
            asked = set(live)
            places = [at for at, row in enumerate(computed) if row in asked]
            logits = forward(
                self.model, [tokens[row][-1] for row in computed], positions, step, keep=places
            )


def _begun(rows: Sequence[Row], reader: Reader) -> tuple[list[Row], Decoding, torch.Tensor]:
    """Read a batch's rows; return them group by group, the pass that goes on from there, and the
    logits of each one's first new token.
    """
    path = {row.ids: list(node.path()) if (node := reader.tree[row.ids]) else [] for row in rows}
    users = Counter(node for row in rows for node in path[row.ids])
    base = {
        ids: next((node for node in nodes if users[node] >= TOGETHER), None)
        for ids, nodes in path.items()
    }
    own = {ids: len(ids) - (node.end if node else 0) for ids, node in base.items()}
    groups = _alike(rows, own)
    held = [Held() for _ in groups]
    tails: dict[Ids, Tail] = {}
    for members, store in zip(groups, held, strict=True):
        places: dict[Ids, list[int]] = defaultdict(list)
        for place, row in enumerate(members):
            places[row.ids].append(place)
        longest = max(own[ids] for ids in places)
        shape = (len(members), longest + members[0].prompt.sampling.max_tokens, longest)
        tails |= {
            ids: Tail(store, tuple(at), shape, len(ids) - own[ids]) for ids, at in places.items()
        }
    bases: dict[Shared, Held] = {}
    first: dict[Ids, torch.Tensor] = {}
    for ids, logits in reader.read(tails, keep=dict.fromkeys(tails, 1), tails=tails):
        first[ids] = logits[-1]
        if node := base[ids]:
            bases.setdefault(node, reader.held[node])
    begun = []
    for members, store in zip(groups, held, strict=True):
        count, room, longest = tails[members[0].ids].shape
        mask = torch.zeros(count, room)
        for at, row in enumerate(members):
            mask[at, : longest - own[row.ids]] = -torch.inf
        begun.append(
            Group(
                store,
                mask,
                [(node, bases[node]) if (node := base[row.ids]) else None for row in members],
                used=longest,
            )
        )
    ordered = [row for members in groups for row in members]
    return ordered, Decoding(begun), torch.stack([first[row.ids] for row in ordered])


def _alike(rows: Sequence[Row], own: Mapping[Ids, int]) -> list[list[Row]]:
    """Part rows where their numbers of own tokens differ so much that computing them apart is worth
    it; each part keeps their order.
    """
    ordered = sorted(rows, key=lambda row: own[row.ids])
    lengths = [own[row.ids] for row in ordered]
    spared, cut = max(
        ((at * (lengths[-1] - lengths[at - 1]), at) for at in range(1, len(rows))), default=(0, 0)
    )
    if spared < SPARED:
        return [list(rows)]
    shorter = set(ordered[:cut])
    parts = [row for row in rows if row in shorter], [row for row in rows if row not in shorter]
    return [group for part in parts for group in _alike(part, own)]


class Reader:
    """Reads rows after their shared beginnings, which it holds for as long as rows are to come that
    go on from them.
    """

    def __init__(self, model: PreTrainedModel, rows: Mapping[Ids, int]) -> None:
        """Prepare to read these rows, of which so many tokens may be shared."""
        self.model = model
        self.tree = shared_beginnings(rows)
        self.held: dict[Shared, Held] = {}
        self._coming = Counter(node for last in self.tree.values() if last for node in last.path())
        self._room: dict[Shared, int] = defaultdict(int)
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
        """Yield each row with the logits of its last `keep` tokens, shape (kept, vocabulary); keys
        and values of its own go to its tail.
        """
        asked = set(rows)
        ids: list[int] = []
        positions: list[int] = []
        pieces: list[Piece] = []
        read: list[Ids] = []
        for row in [row for row in self.tree if row in asked]:
            last = self.tree[row]
            for node in reversed(list(last.path()) if last else []):
                if node not in self.held:
                    parent = self.held[node.parent] if node.parent else None
                    self.held[node] = Held()
                    pieces.append(
                        _piece(
                            len(ids),
                            node.begin,
                            node.end,
                            parent,
                            self.held[node],
                            size=max(self._room[node], node.end),
                        )
                    )
                    ids += node.ids
                    positions += range(node.begin, node.end)
            begin, held = (last.end, self.held[last]) if last else (0, None)
            pieces.append(
                _piece(
                    len(ids),
                    begin,
                    len(row),
                    held,
                    held,
                    size=self._room[last] if last else 0,
                    into=(tails or {}).get(row),
                )
            )
            ids += row[begin:]
            positions += range(begin, len(row))
            read.append(row)
            if len(ids) >= TOKENS:
                yield from self._pass(ids, positions, pieces, read, keep)
                ids, positions, pieces, read = [], [], [], []
        if ids:
            yield from self._pass(ids, positions, pieces, read, keep)

    def _pass(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        pieces: Sequence[Piece],
        rows: Sequence[Ids],
        keep: Mapping[Ids, int],
    ) -> Iterator[tuple[Ids, torch.Tensor]]:
        stops = [piece.stop for piece in pieces if piece.held is piece.parent]
        places = [
            place
            for row, stop in zip(rows, stops, strict=True)
            for place in range(stop - keep[row], stop)
        ]
        logits = forward(self.model, ids, positions, Reading(pieces), keep=places)
        yield from zip(rows, torch.split(logits, [keep[row] for row in rows]), strict=True)
        for row in rows:
            for node in last.path() if (last := self.tree[row]) else ():
                self._coming[node] -= 1
                if self._coming[node] <= 0:
                    self.held.pop(node, None)


def _piece(
    start: int,
    begin: int,
    end: int,
    parent: Held | None,
    held: Held | None,
    *,
    size: int,
    into: Tail | None = None,
) -> Piece:
    count = end - begin
    mask = torch.ones(count, end, dtype=torch.bool).tril(begin) if begin and count > 1 else None
    return Piece(start, start + count, begin, parent, held, size, mask, into)


def forward(
    model: PreTrainedModel,
    ids: Sequence[int],
    positions: Sequence[int],
    step: Step,
    *,
    keep: Sequence[int],
) -> torch.Tensor:
    """Feed tokens as `step` says; return the logits of those at the places `keep`, shape (kept,
    vocabulary).
    """
    call: Any = model
    with torch.inference_mode(), _attention(model):
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
def _attention(model: PreTrainedModel) -> Iterator[None]:
    """Let the model attend as attention.py does, for as long as this lasts."""
    usual = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


def _token_bytes(model: PreTrainedModel) -> int:
    """Return the bytes of a token's keys and values."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)


def suits(model: PreTrainedModel) -> bool:
    """Tell whether this way is open to a model: on a CPU, and its logits are those of transformers'
    own way.
    """
    if model.device.type != "cpu" or not model._supports_attention_backend:
        return False
    rows = {(*range(1, 33), *range(first, 40)): 32 for first in (35, 39)}
    try:
        found = {
            row: logits[-1]
            for row, logits in Reader(model, rows).read(rows, keep=dict.fromkeys(rows, 1))
        }
    except (
        NotImplementedError,
        TypeError,
        AttributeError,
    ):  # an attention of another kind, or a model that does not pass `step` on
        return False
    call: Any = model
    for row, logits in found.items():
        with torch.inference_mode():
            expected = call(torch.tensor([row])).logits[0, -1].float()
        if not torch.allclose(
            logits, expected, rtol=0, atol=TOLERANCE * float(expected.abs().max())
        ):
            return False
    return True
