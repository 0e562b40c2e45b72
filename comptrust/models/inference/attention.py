"""Attention over rows that share beginnings: a beginning's keys and values are stored once, and
never copied for the rows after it.

All tokens of a pass go through the model as one row (its linear layers do not care), and the
attention, which is registered with transformers as vLLM registers its own, keeps them apart: a row
sees its beginning and itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from comptrust.models.inference.prefixes import Shared

NAME = "comptrust_packed"


@dataclass(eq=False)
class Held:
    """Keys and values by layer, of one beginning (heads, tokens, size) or of the own tokens of a
    group (rows, heads, tokens, size).

    A group's keys are stored as (rows, heads, size, tokens): so their products with the queries are
    faster.
    """

    keys: dict[int, torch.Tensor] = field(default_factory=dict)
    values: dict[int, torch.Tensor] = field(default_factory=dict)


class Step(Protocol):
    """What one pass through the model attends to."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Return the attention's output, shape (tokens, heads, size), for inputs of shape (heads,
        tokens, size).
        """
        ...


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    step: Step,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **other: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as `step` says; the signature is that of transformers' AttentionInterface."""
    if (
        sliding_window is not None
        or softcap is not None
        or s_aux is not None
        or other.get("position_bias") is not None
    ):
        raise NotImplementedError(
            "an attention that looks at a window, caps its logits or has sinks or a bias"
        )
    layer: Any = module.layer_idx
    return step.attend(layer, query[0], key[0], value[0], scaling).unsqueeze(0), None


AttentionInterface.register(NAME, attention)


@dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive tokens of a pass: a shared beginning's own, or a row's own after its shared
    beginning.
    """

    start: int
    stop: int
    begin: int
    """Number of tokens before it in its row."""
    parent: Held | None
    """Where the keys and values before it are."""
    held: Held | None
    """Where those up to its end will be: of its own for a shared beginning, `parent`, which has
    room for them, for a row.
    """
    size: int
    """Tokens that `held` has room for."""
    mask: torch.Tensor | None
    into: Tail | None = None


@dataclass(frozen=True, eq=False)
class Tail:
    """Where in a group the keys and values of a row's own tokens go."""

    held: Held
    rows: tuple[int, ...]
    """More than one where several answers to a prompt are drawn."""
    shape: tuple[int, int, int]
    """Rows, tokens that there is room for, tokens of the longest row."""
    base: int
    """Number of the row's tokens that it shares with others."""


class Reading:
    """A pass that reads prompts, piece by piece, each after what it goes on from."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = pieces

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attend each piece to all before it and itself."""
        out = torch.empty_like(query)
        for piece in self.pieces:
            own = slice(piece.start, piece.stop)
            keys, values = _extended(piece, layer, key[:, own], value[:, own])
            out[:, own] = scaled_dot_product_attention(
                query[None, :, own],
                keys[None],
                values[None],
                attn_mask=piece.mask,
                is_causal=piece.begin == 0,
                scale=scale,
                enable_gqa=query.shape[0] != key.shape[0],
            )[0]
            if piece.into:
                _keep(piece.into, layer, keys, values)
        return out.transpose(0, 1)


def _extended(
    piece: Piece, layer: int, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return keys and values from the row's first token to the piece's last."""
    if piece.held is None:
        return key, value
    end = piece.begin + key.shape[1]
    whole = []
    for name, own in (("keys", key), ("values", value)):
        store = getattr(piece.held, name)
        if layer not in store:
            store[layer] = own.new_empty(own.shape[0], piece.size, own.shape[2])
            if piece.parent:
                store[layer][:, : piece.begin] = getattr(piece.parent, name)[layer][
                    :, : piece.begin
                ]
        store[layer][:, piece.begin : end] = own
        whole.append(store[layer][:, :end])
    return whole[0], whole[1]


def _keep(tail: Tail, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
    """Copy what is the row's own to its group, with its end where all rows end and zeros before it;
    what follows is not read yet.
    """
    rows, room, longest = tail.shape
    heads, end, size = keys.shape
    if layer not in tail.held.keys:
        tail.held.keys[layer] = keys.new_empty(rows, heads, size, room)
        tail.held.values[layer] = values.new_empty(rows, heads, room, size)
    begin = longest - (end - tail.base)
    for row in tail.rows:
        to_keys, to_values = tail.held.keys[layer][row], tail.held.values[layer][row]
        to_keys[..., :begin] = 0
        to_keys[..., begin:longest] = keys[:, tail.base :].transpose(1, 2)
        to_values[:, :begin] = 0
        to_values[:, begin:longest] = values[:, tail.base :]


class Group:
    """Rows of a batch that have about as many tokens of their own, which end where those of the
    longest end.
    """

    def __init__(
        self,
        own: Held,
        mask: torch.Tensor,
        bases: Sequence[tuple[Shared, Held] | None],
        *,
        used: int,
    ) -> None:
        self.own = own
        self.mask = mask
        """0 where a row has a token and minus infinity before them, shape (rows, tokens that there
        is room for).
        """
        self.bases = list(bases)
        self.used = used
        """Tokens that each row holds, the one that is being added included."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attend each row to its shared beginning, together with the other rows that have it, and
        to its own tokens.
        """
        heads, rows, size = key.shape
        group = query.shape[0] // heads
        self.own.keys[layer][..., self.used - 1] = key.transpose(0, 1)
        self.own.values[layer][:, :, self.used - 1] = value.transpose(0, 1)
        keys, values = (
            self.own.keys[layer].flatten(0, 1)[..., : self.used],
            self.own.values[layer].flatten(0, 1)[:, : self.used],
        )
        asked = query.transpose(0, 1).reshape(rows, heads, group, size) * scale
        weights = torch.bmm(asked.flatten(0, 1), keys).view(rows, heads, group, self.used)
        weights += self.mask[:, None, None, : self.used]
        out = torch.zeros_like(asked)
        first = 0
        for base, members in groupby(self.bases):
            part = slice(first, first + sum(1 for _ in members))
            first = part.stop
            if base is None:
                weights[part] = weights[part].softmax(dim=-1)
                continue
            length = base[0].end
            shared, taken = base[1].keys[layer][:, :length], base[1].values[layer][:, :length]
            before = torch.bmm(asked[part].transpose(0, 1).flatten(1, 2), shared.transpose(1, 2))
            before = before.view(heads, -1, group, length).transpose(0, 1)
            both = torch.cat([before, weights[part]], dim=-1).softmax(dim=-1)
            weights[part] = both[..., length:]
            given = torch.bmm(both[..., :length].transpose(0, 1).flatten(1, 2), taken)
            out[part] = given.view(heads, -1, group, size).transpose(0, 1)
        out += torch.bmm(weights.flatten(0, 1), values).view_as(out)
        return out.flatten(1, 2)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        chosen = torch.tensor(rows)
        for store in (self.own.keys, self.own.values):
            for layer, tensor in store.items():
                store[layer] = tensor[chosen]
        self.mask = self.mask[chosen]
        self.bases = [self.bases[row] for row in rows]


class Decoding:
    """A pass that adds one token to each row of a batch, whose rows stand group by group."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = list(groups)

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attend group by group."""
        first, found = 0, []
        for group in self.groups:
            own = slice(first, first := first + len(group.bases))
            found.append(group.attend(layer, query[:, own], key[:, own], value[:, own], scale))
        return torch.cat(found)

    def extend(self) -> None:
        """Make each row one token longer."""
        for group in self.groups:
            group.used += 1

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        first, left = 0, []
        for group in self.groups:
            end = first + len(group.bases)
            if own := [row - first for row in rows if first <= row < end]:
                group.keep(own)
                left.append(group)
            first = end
        self.groups = left
