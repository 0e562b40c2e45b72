"""Attention over rows that share beginnings, and the pass that reads prompts with it.

All tokens of a pass go through the model as one row, which its linear layers cannot tell from many.
Only attention looks at other tokens, so only attention must know which row a token belongs to. The
function here, registered with transformers as vLLM registers its own, leaves that to the pass: in
`Reading` and in decoding.py, a row sees its beginning and itself. A beginning's keys and values are
stored once and never copied for the rows that continue it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from comptrust.models.inference.tokens import Ids

NAME = "comptrust_packed"


@dataclass(eq=False)
class KeyValues:
    """Keys and values, by layer.

    For a beginning both are (heads, tokens, size). For the tokens of a group of rows, values are
    (rows, heads, tokens, size) and keys (rows, heads, size, tokens), the order in which their
    product with the queries is fastest.
    """

    room: int
    """Tokens that there is room for."""
    keys: dict[int, torch.Tensor] = field(default_factory=dict)
    values: dict[int, torch.Tensor] = field(default_factory=dict)


class Pass(Protocol):
    """One pass of tokens through the model."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Return the attention output, (tokens, heads, size), of inputs (heads, tokens, size)."""
        ...


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    step: Pass,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **other: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as the pass `step` says; the signature is that of transformers' AttentionInterface.

    Raises NotImplementedError for attention that looks at a window, caps its logits, or has sinks
    or a bias.
    """
    extras = (sliding_window, softcap, s_aux, other.get("position_bias"))
    if any(extra is not None for extra in extras):
        raise NotImplementedError("attention with a window, capped logits, sinks or a bias")
    layer: Any = module.layer_idx
    return step.attend(layer, query[0], key[0], value[0], scaling).unsqueeze(0), None


AttentionInterface.register(NAME, attention)


@dataclass(frozen=True, eq=False)
class Tail:
    """Where in a decoding group the keys and values of a prompt's own tokens are copied."""

    store: KeyValues
    rows: list[int]
    """Several where a prompt has several answers."""
    shape: tuple[int, int]
    """Of the group: rows, own tokens of its longest prompt."""
    base: int
    """Number of the prompt's tokens in the shared beginning; its own tokens follow."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive tokens of a pass: those of one shared beginning, or the rest of one row."""

    own: slice
    """Where its tokens are in the pass."""
    begin: int
    """Number of tokens before it in its row."""
    parent: KeyValues | None
    """Keys and values of the tokens before it."""
    store: KeyValues | None
    """Where its keys and values go, after a copy of those before it.

    A shared beginning has a store of its own. A row uses its parent's, which has room for the
    longest row; the next row overwrites what it wrote.
    """
    mask: torch.Tensor | None
    tail: Tail | None = None


@dataclass
class Reading:
    """A pass that reads prompts: pieces one after another, each attending to its row so far."""

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
        tail: Tail | None = None,
    ) -> None:
        """Add a piece whose first token is number `begin` of its row; see Piece."""
        start, count = len(self.ids), len(ids)
        end = begin + count
        # A piece that starts its row is plainly causal, and a single token sees all before it;
        # only several tokens after a beginning need a mask.
        mask = torch.ones(count, end, dtype=torch.bool).tril(begin) if begin and count > 1 else None
        self.pieces.append(Piece(slice(start, start + count), begin, parent, store, mask, tail))
        self.ids += ids
        self.positions += range(begin, end)

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attend from each piece to itself and all before it in its row; see Pass."""
        out = torch.empty_like(query)
        for piece in self.pieces:
            keys, values = _row_so_far(piece, layer, key[:, piece.own], value[:, piece.own])
            out[:, piece.own] = scaled_dot_product_attention(
                query[None, :, piece.own],
                keys[None],
                values[None],
                attn_mask=piece.mask,
                is_causal=piece.begin == 0,
                scale=scale,
                enable_gqa=query.shape[0] != key.shape[0],
            )[0]
            if piece.tail:
                _copy(piece.tail, layer, keys, values)
        return out.transpose(0, 1)


def _row_so_far(
    piece: Piece, layer: int, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return keys and values from the row's first token to the piece's last."""
    if piece.store is None:  # a row that shares nothing
        return key, value
    end = piece.begin + key.shape[1]
    whole = []
    for name, new in (("keys", key), ("values", value)):
        store = getattr(piece.store, name)
        if layer not in store:
            store[layer] = new.new_empty(new.shape[0], piece.store.room, new.shape[2])
            if piece.parent:
                before = getattr(piece.parent, name)[layer]
                store[layer][:, : piece.begin] = before[:, : piece.begin]
        store[layer][:, piece.begin : end] = new
        whole.append(store[layer][:, :end])
    return whole[0], whole[1]


def _copy(tail: Tail, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
    """Copy a prompt's own keys and values to its rows of a group, aligned to the right.

    All rows then end at the same place, where decoding goes on. The places before a shorter prompt
    are set to zero, since masked values still enter the sum; those after it are not read yet.
    """
    (rows, longest), room = tail.shape, tail.store.room
    heads, end, size = keys.shape
    if layer not in tail.store.keys:
        tail.store.keys[layer] = keys.new_empty(rows, heads, size, room)
        tail.store.values[layer] = values.new_empty(rows, heads, room, size)
    begin = longest - (end - tail.base)
    for row in tail.rows:
        to_keys, to_values = tail.store.keys[layer][row], tail.store.values[layer][row]
        to_keys[..., :begin] = 0
        to_keys[..., begin:longest] = keys[:, tail.base :].transpose(1, 2)
        to_values[:, :begin] = 0
        to_values[:, begin:longest] = values[:, tail.base :]
