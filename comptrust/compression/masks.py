"""Pruning masks by magnitude: pure functions on weight tensors."""

import torch

from comptrust.compression.base import Pattern


def magnitude_mask(weight: torch.Tensor, *, structure: str, sparsity: float) -> torch.Tensor:
    """Return which weights stay: a bool tensor of the weight's shape, (out, in).

    N:M keeps the N largest of every M consecutive inputs. Otherwise, the `sparsity` share of the
    layer with the smallest magnitude becomes zero. Of equal weights, the earlier one stays.
    Source: Zhu & Gupta 2017; Mishra et al. 2021 for N:M.
    """
    size = weight.detach().abs().float()
    pattern = Pattern.parse(structure)
    if pattern is None:
        dropped = round(sparsity * size.numel())
        order = size.flatten().sort(stable=True, descending=True).indices
        mask = torch.ones(size.numel(), dtype=torch.bool, device=weight.device)
        mask[order[size.numel() - dropped :]] = False
        return mask.view_as(weight)
    groups = size.view(-1, pattern.of)
    order = groups.sort(dim=1, stable=True, descending=True).indices[:, : pattern.kept]
    mask = torch.zeros_like(groups, dtype=torch.bool)
    return mask.scatter_(1, order, True).view_as(weight)


def follows(weight: torch.Tensor, structure: str) -> bool:
    """Return whether the weight, shape (out, in), has the pattern; any weight is unstructured."""
    pattern = Pattern.parse(structure)
    if pattern is None:
        return True
    if weight.shape[-1] % pattern.of:
        return False
    return bool((weight.reshape(-1, pattern.of).count_nonzero(dim=1) <= pattern.kept).all())
