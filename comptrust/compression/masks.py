"""Pruning masks by magnitude: pure functions on weight tensors."""

from __future__ import annotations

import torch


def magnitude_mask(weight: torch.Tensor, *, structure: str, sparsity: float) -> torch.Tensor:
    """Return which weights stay, a bool tensor of the weight's shape (out, in).

    N:M keeps the N largest of each M consecutive inputs; unstructured zeroes exactly the `sparsity`
    share of the layer with the smallest magnitude. Ties go to the earlier weight. Source: Zhu &
    Gupta 2017; Mishra et al. 2021 for N:M.
    """
    size = weight.detach().abs().float()
    if structure == "unstructured":
        drop = round(sparsity * size.numel())
        order = size.flatten().sort(stable=True, descending=True).indices
        mask = torch.ones(size.numel(), dtype=torch.bool, device=weight.device)
        mask[order[size.numel() - drop :]] = False
        return mask.view_as(weight)
    kept, of = parse(structure)
    groups = size.view(-1, of)
    order = groups.sort(dim=1, stable=True, descending=True).indices[:, :kept]
    mask = torch.zeros_like(groups, dtype=torch.bool)
    return mask.scatter_(1, order, True).view_as(weight)


def follows(weight: torch.Tensor, structure: str) -> bool:
    """Tell whether every M consecutive inputs hold at most N weights that are not zero."""
    kept, of = parse(structure)
    if weight.shape[-1] % of:
        return False
    return bool((weight.reshape(-1, of).count_nonzero(dim=1) <= kept).all())


def parse(structure: str) -> tuple[int, int]:
    """Split `2:4` into (2, 4): weights kept, of how many."""
    kept, of = structure.split(":")
    return int(kept), int(of)
