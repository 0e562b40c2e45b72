"""What a compression method is: its parameters and one verb, `apply`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from comptrust.plugins import Registry

if TYPE_CHECKING:
    import torch

METHODS = Registry("method", "comptrust.compression.methods", "comptrust.methods", verb="apply")
STRUCTURES = ("unstructured", "2:4", "4:8", "1:2")


class Method(BaseModel, ABC):
    """A method is its parameters; its file name is its registered name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[Literal["dense", "quantization", "pruning"]]
    bits_known: ClassVar[tuple[int, ...]] = ()
    """Bits per weight that the method offers."""
    calibrated: ClassVar[bool] = True
    """Whether the method looks at calibration text."""

    @abstractmethod
    def apply(self, model: torch.nn.Module, samples: list[torch.Tensor]) -> None:
        """Compress the model in place.

        `samples` are token ids of shape (1, length), one tensor a calibration text; empty for
        uncalibrated methods.
        """


class Quantization(Method):
    """Weights become `bits`-bit integers that share one scale per group."""

    kind = "quantization"
    bits_known = (3, 4, 8)

    bits: int
    """Bits per weight."""
    group_size: int
    """Consecutive input weights of one output channel that share a scale."""

    def weights(self, *, symmetric: bool) -> dict[str, Any]:
        """Return llm-compressor's description of the weight format, for all linear layers but the
        head.
        """
        scheme = {
            "num_bits": self.bits,
            "type": "int",
            "symmetric": symmetric,
            "strategy": "group",
            "group_size": self.group_size,
        }
        return {
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": scheme}},
            "ignore": ["lm_head"],
        }


class Pruning(Method):
    """A share of the weights becomes zero."""

    kind = "pruning"

    sparsity: float = 0.5
    """Share of weights set to zero, 0-1."""
    structure: str = "unstructured"
    """`unstructured` or N:M, N weights kept of each M consecutive inputs."""

    def mask_structure(self) -> str:
        """Return llm-compressor's name of the pattern, in which N counts the zeros."""
        if self.structure == "unstructured":
            return "0:0"
        kept, of = (int(part) for part in self.structure.split(":"))
        return f"{of - kept}:{of}"


def get(name: str) -> type[Method]:
    """Return a method's class by name. Raises UserError with the nearest name."""
    method: type[Method] = METHODS.get(name)
    return method


def target_layers(model: torch.nn.Module) -> dict[str, torch.nn.Linear]:
    """Return the linear layers that compression touches: all but the head (embeddings are no linear
    layers).
    """
    import torch

    layers = {
        name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)
    }
    return {name: layer for name, layer in layers.items() if name.split(".")[-1] != "lm_head"}
