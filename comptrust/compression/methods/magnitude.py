"""Magnitude pruning: the smallest weights of each layer become zero."""

from comptrust.compression.base import Module, Pattern, Pruning, Samples, Tensor, target_layers


class Magnitude(Pruning):
    """Magnitude pruning (Zhu & Gupta 2017, https://arxiv.org/abs/1710.01878); needs no calibration.

    Sample: `{method: magnitude, structure: "2:4"}`
    """

    calibrated = False

    def apply(self, model: Module, samples: Samples) -> None:
        for layer in target_layers(model).values():
            layer.weight.data *= self.mask(layer.weight.data)

    def mask(self, weight: Tensor) -> Tensor:
        """Return which weights stay: a bool tensor of the weight's shape, (out, in).

        N:M keeps the N largest of every M consecutive inputs (Mishra et al. 2021). Otherwise, the
        `sparsity` share of the layer with the smallest magnitude becomes zero. Of equal weights,
        the earlier one stays.
        """
        size = weight.abs().float()
        count = size.numel()
        kept, of = Pattern.parse(self.structure) or (count - round(self.sparsity * count), count)
        groups = size.reshape(-1, of)
        order = groups.sort(dim=1, stable=True, descending=True).indices[:, :kept]
        return groups.new_zeros(groups.shape).bool().scatter_(1, order, True).view_as(weight)
