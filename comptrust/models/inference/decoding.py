"""The pass that adds one token to each row of a batch."""

from dataclasses import dataclass
from itertools import compress, groupby

import torch

from comptrust.models.inference.attention import KeyValues
from comptrust.models.inference.tokens import Beginning


@dataclass(eq=False)
class Group:
    """Rows of a batch with about as many tokens of their own, aligned to the right.

    Rows that share a beginning must be neighbors.
    """

    own: KeyValues
    mask: torch.Tensor
    """Shape (rows, room): minus infinity before a row's first token, 0 elsewhere."""
    bases: list[Beginning | None]
    """The shared beginning of each row."""
    stores: dict[Beginning, KeyValues]
    """Keys and values of all shared beginnings; a store may hold more tokens after them."""
    used: int
    """Own tokens of each row, including the one that is being added."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attend from each row's new token to its shared beginning and its own tokens; see Pass."""
        heads, rows, size = key.shape
        queries_per_head = query.shape[0] // heads  # above 1 in grouped-query attention
        self.own.keys[layer][..., self.used - 1] = key.transpose(0, 1)
        self.own.values[layer][:, :, self.used - 1] = value.transpose(0, 1)

        # Scores of each row's own tokens. Every row has its own keys, so this is one small product
        # for each row and head.
        queries = query.transpose(0, 1).reshape(rows, heads, queries_per_head, size) * scale
        keys = self.own.keys[layer].flatten(0, 1)[..., : self.used]
        weights = torch.bmm(queries.flatten(0, 1), keys).view(rows, heads, queries_per_head, -1)
        weights += self.mask[:, None, None, : self.used]

        # Neighbors with the same beginning attend to it together: their queries are the rows of one
        # large product for each head, with keys that are stored once.
        out = torch.zeros_like(queries)
        for base, members in groupby(range(rows), self.bases.__getitem__):
            first, *others = members
            part = slice(first, first + 1 + len(others))
            if base is None:
                weights[part] = weights[part].softmax(dim=-1)
            else:
                store = self.stores[base]
                keys, values = store.keys[layer][:, : base.end], store.values[layer][:, : base.end]
                weights[part], out[part] = _with_base(keys, values, queries[part], weights[part])

        values = self.own.values[layer].flatten(0, 1)[:, : self.used]
        out += torch.bmm(weights.flatten(0, 1), values).view_as(out)
        return out.flatten(1, 2)

    def keep(self, rows: torch.Tensor) -> None:
        """Drop the rows where this is False, shape (rows,)."""
        for store in (self.own.keys, self.own.values):
            for layer, tensor in store.items():
                store[layer] = tensor[rows]
        self.mask = self.mask[rows]
        self.bases = list(compress(self.bases, rows))


def _with_base(
    keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor, scores: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weights of the rows' own tokens, and what their beginning adds to the output.

    `keys` and `values` are those of the beginning, (heads, tokens, size), `queries` (rows, heads,
    queries per head, size) and `scores` those of the rows' own tokens, (rows, heads, queries per
    head, own tokens). One softmax over beginning and own tokens makes the result that of attention
    over the whole row.
    """
    rows, heads, queries_per_head, _ = queries.shape
    length = keys.shape[1]

    def by_head(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.transpose(0, 1).flatten(1, 2)

    def by_row(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.view(heads, rows, queries_per_head, -1).transpose(0, 1)

    shared_scores = by_row(torch.bmm(by_head(queries), keys.transpose(1, 2)))
    weights = torch.cat([shared_scores, scores], dim=-1).softmax(dim=-1)
    return weights[..., length:], by_row(torch.bmm(by_head(weights[..., :length]), values))


@dataclass(eq=False)
class Decoding:
    """A pass that adds one token to each row of a batch; rows are ordered group by group."""

    groups: list[Group]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attend group by group; see Pass."""
        sizes = [len(group.bases) for group in self.groups]
        parts = [torch.split(whole, sizes, dim=1) for whole in (query, key, value)]
        inputs = zip(self.groups, *parts, strict=True)
        return torch.cat([group.attend(layer, q, k, v, scale) for group, q, k, v in inputs])

    def keep(self, rows: torch.Tensor) -> None:
        """Drop the rows where this is False, shape (rows,)."""
        sizes = [len(group.bases) for group in self.groups]
        for group, members in zip(self.groups, torch.split(rows, sizes), strict=True):
            group.keep(members)
        self.groups = [group for group in self.groups if group.bases]
