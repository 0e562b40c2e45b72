"""No compression: the dense model itself, saved and measured like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comptrust.compression.base import Method

if TYPE_CHECKING:
    import torch


class None_(Method):
    """The dense baseline.

    Sample: `method: none`
    """

    kind = "dense"
    calibrated = False

    def apply(self, model: torch.nn.Module, samples: list[torch.Tensor]) -> None:
        """Leave the model as it is."""
