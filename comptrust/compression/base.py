"""The interface of a compression method: its parameters, and `apply`."""

import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from comptrust.compression.targets import dense_layers
from comptrust.compression.targets import target_layers as target_layers
from comptrust.errors import UserError, unknown
from comptrust.plugins import Registry
from comptrust.records import LayerBits, bits_of

if TYPE_CHECKING:
    import torch

    from comptrust.records import Recipe

METHODS = Registry("method", "comptrust.compression.methods", "comptrust.methods", verb="apply")
Module: TypeAlias = "torch.nn.Module"
Tensor: TypeAlias = "torch.Tensor"
Samples: TypeAlias = "list[torch.Tensor]"
STRUCTURES = ("unstructured", "2:4", "4:8", "1:2")


class Pattern(NamedTuple):
    """N:M sparsity: of `of` consecutive inputs, at most `kept` weights are not zero."""

    kept: int
    of: int

    @classmethod
    def parse(cls, structure: str | None) -> Self | None:
        """Read `2:4` as (2, 4); None if there is no pattern."""
        return None if structure in (None, "unstructured") else cls(*map(int, structure.split(":")))

    def fits(self, weight: Tensor) -> bool:
        """Return whether the weight, shape (out, in), has the pattern."""
        if weight.shape[-1] % self.of:
            return False
        return bool((weight.reshape(-1, self.of).count_nonzero(dim=1) <= self.kept).all())


class Method(BaseModel, ABC):
    """A compression method with its parameters. Its file name is its registered name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[Literal["dense", "quantization", "pruning"]]
    bits_known: ClassVar[tuple[int, ...]] = ()
    """Bits per weight that the method supports."""
    calibrated: ClassVar[bool] = True
    """Whether the method needs calibration texts."""

    @property
    def uses_texts(self) -> bool:
        """Whether it needs calibration texts with these options."""
        return self.calibrated

    def check(self, model: Module) -> None:
        """Raise UserError if a model, given without weights, cannot be compressed so."""

    @abstractmethod
    def apply(self, model: Module, samples: Samples) -> Iterable[str] | None:
        """Compress the model in place; `target_layers` are its layers to compress.

        `samples` holds the token ids of each calibration text, shape (1, length). It is empty if
        the method is not calibrated. Returns the layers that a simpler method had to compress.
        """


class Quantization(Method):
    """Weights become `bits`-bit integers; each group of them shares a scale."""

    kind = "quantization"
    bits_known = (3, 4, 5, 6, 8)
    mixed: ClassVar[bool] = True
    """Whether layers may have bits of their own."""

    bits: int
    """Bits per weight."""
    group_size: int | None = None
    """Consecutive input weights of one output that share a scale.

    None until the model is known; `apply` needs a number.
    """

    layer_bits: tuple[LayerBits, ...] = ()
    """Layers with other bits; the first rule that fits counts."""

    def weights(self, model: Module, *, symmetric: bool) -> dict[str, Any]:
        """Return llm-compressor's description of the format of all layers to compress."""
        scheme = {
            "num_bits": self.bits,
            "type": "int",
            "symmetric": symmetric,
            "strategy": "group",
            "group_size": self.group_size,
        }
        if not self.layer_bits:
            groups: dict[str, Any] = {"group_0": {"targets": ["Linear"], "weights": scheme}}
            return {"config_groups": groups, "ignore": dense_layers(model)}
        by_bits: dict[int | None, list[str]] = defaultdict(list)
        for name in target_layers(model):
            by_bits[bits_of(name, self.layer_bits, otherwise=self.bits)].append(name)
        kept = by_bits.pop(None, [])
        groups = {
            f"group_{number}": {"targets": names, "weights": scheme | {"num_bits": bits}}
            for number, (bits, names) in enumerate(sorted(by_bits.items(), key=str))
        }
        return {"config_groups": groups, "ignore": [*dense_layers(model), *kept]}


class Pruning(Method):
    """A share of the weights becomes zero."""

    kind = "pruning"

    sparsity: float = 0.5
    """Share of weights set to zero, 0-1."""
    structure: str = "unstructured"
    """`unstructured`, or N:M to keep N weights of every M consecutive inputs."""

    def masks(self, model: Module) -> dict[str, Any]:
        """Return llm-compressor's description of the masks of all layers to compress."""
        pattern = Pattern.parse(self.structure)
        return {
            "sparsity": self.sparsity,
            # in the library's names, N counts the zeros
            "mask_structure": f"{pattern.of - pattern.kept}:{pattern.of}" if pattern else "0:0",
            "targets": ["Linear"],
            # the library adds a dot to the names
            "ignore": [rf"re:^{re.escape(name)}\.?$" for name in dense_layers(model)],
        }


SHARED = Quantization.model_fields.keys() | Pruning.model_fields.keys()
"""Parameters that a recipe has fields for; all others are options of one method."""


def of_recipe(recipe: "Recipe") -> Method:
    """Build the method that a recipe describes."""
    method: type[Method] = METHODS.get(recipe.method)
    parameters = {name: getattr(recipe, name) for name in method.model_fields if name in SHARED}
    return configured(recipe.method, parameters=parameters, options=recipe.options)


def configured(name: str, *, parameters: dict[str, Any], options: dict[str, Any]) -> Method:
    """Build a method from the recipe's parameters and the method's own options.

    Raises UserError for an option that the method does not have or a value that it rejects.
    """
    method: type[Method] = METHODS.get(name)
    allowed = method.model_fields.keys() - SHARED
    for option in options:
        if option not in allowed:
            raise unknown(f"option of {name}", option, allowed)
    try:
        return method(**parameters, **options)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"Option {first['loc'][0]} of {name}: {first['msg']} (got {first['input']!r})."
        ) from error
