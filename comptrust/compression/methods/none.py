"""No compression: the dense model itself, saved and measured like any other."""

from comptrust.compression.base import Method, Module, Samples


class None_(Method):
    """The dense baseline.

    Sample: `method: none`
    """

    kind = "dense"
    calibrated = False

    def apply(self, model: Module, samples: Samples) -> None:
        """Leave the model as it is."""
