"""Magnitude pruning: the smallest weights of each layer become zero."""

from comptrust.compression.base import Module, Pruning, Samples, target_layers


class Magnitude(Pruning):
    """Magnitude pruning (Zhu & Gupta 2017, https://arxiv.org/abs/1710.01878); needs no calibration.

    Sample: `{method: magnitude, structure: "2:4"}`
    """

    calibrated = False

    def apply(self, model: Module, samples: Samples) -> None:
        """Zero the smallest weights of every target layer."""
        import torch

        from comptrust.compression.masks import magnitude_mask

        with torch.no_grad():
            for layer in target_layers(model).values():
                layer.weight.mul_(
                    magnitude_mask(layer.weight, structure=self.structure, sparsity=self.sparsity)
                )
