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
    count = size.numel()
    kept, of = Pattern.parse(structure) or (count - round(sparsity * count), count)
    groups = size.view(-1, of)
    order = groups.sort(dim=1, stable=True, descending=True).indices[:, :kept]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order, True).view_as(weight)


def follows(weight: torch.Tensor, structure: str | None) -> bool:
    """Return whether the weight, shape (out, in), has the pattern; any weight is unstructured."""
    pattern = Pattern.parse(structure)
    if pattern is None or weight.shape[-1] % pattern.of:
        return pattern is None
    return bool((weight.reshape(-1, pattern.of).count_nonzero(dim=1) <= pattern.kept).all())
