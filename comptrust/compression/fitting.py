"""Does a recipe fit a model? Answered from the headers of its files, before it is loaded."""

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.compression.base import METHODS, Pattern, of_recipe
from comptrust.errors import UserError
from comptrust.models import formats, loading, readers
from comptrust.records import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROUP_SIZES = (128, 64, 32)
"""The sizes that `auto` chooses from; the largest that fits wins."""
Shapes = Mapping[str, tuple[int, ...]]
"""Matrix -> (outputs, inputs), or (experts, outputs, inputs)."""


def check(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with its final group size, for the model in a folder.

    Raises UserError if the recipe does not fit the model.
    """
    readers.check_source(folder)
    if recipe.method == "gguf":
        from comptrust.compression import gguf_export

        gguf_export.check(recipe.format, folder)
    if recipe.method == "gguf" or METHODS.get(recipe.method).kind == "dense":
        return recipe
    model = loading.skeleton(folder)
    _check_layers(recipe, model)
    known = _shapes(model)
    _check_mixture(recipe, model)
    return fit(recipe, known)


def _check_mixture(recipe: Recipe, model: "PreTrainedModel") -> None:
    """Raise UserError for a pattern that fits no layer, or if no layer is left to compress."""
    from comptrust.compression import targets

    if not recipe.layer_bits:
        return
    targets.take_apart(model)
    names = list(targets.target_layers(model))
    for pattern in (pattern for rule in recipe.layer_bits for pattern in rule.layers):
        if not fnmatch.filter(names, pattern):
            raise UserError(
                f"layer_bits: '{pattern}' fits no layer of {recipe.base_model}, whose layers have"
                f" names such as {names[0]}."
            )
    if all(recipe.bits_of(name) is None for name in names):
        raise UserError("layer_bits leaves every layer dense. Use method none.")


def _check_layers(recipe: Recipe, model: "PreTrainedModel") -> None:
    """Raise UserError if the model has layers that the recipe cannot compress faithfully."""
    from transformers.pytorch_utils import Conv1D

    from comptrust.compression import expert_names, targets

    kind = type(model).__name__
    if not targets.matrices(model):
        raise UserError(f"{kind} has no linear layers to compress. Use method none.")
    targets.check_experts(model)
    if METHODS.get(recipe.method).kind != "quantization":
        return
    prune = "Prune it instead: magnitude, wanda or sparsegpt."
    if any(isinstance(layer, Conv1D) for layer in model.modules()):
        raise UserError(
            f"The layers of {kind} are Conv1D, which no format of quantized files has. {prune}"
        )
    if recipe.format == formats.DEFAULT and not _loads_packed(model):
        advice = f"Use format {recipe.method}." if recipe.method in formats.LAYOUTS else prune
        raise UserError(
            f"transformers cannot load {kind} in format {formats.DEFAULT}: it looks for weights of"
            f" layers that are packed. {advice}"
        )
    again = any(len(calls) > 1 for calls in targets.inputs(model)[0].values())
    if again and (recipe.format != formats.DEFAULT or recipe.method not in ("rtn", "awq")):
        raise UserError(
            f"{kind} computes its layers more than once per token, where rounding adds up and"
            f" llm-compressor calibrates once. Use method rtn in format {formats.DEFAULT}. {prune}"
        )
    experts = any(map(targets.is_experts, model.modules()))
    if experts and expert_names.conversions(model.config) is None:
        raise UserError(
            f"transformers reads the experts of {kind} only as one dense tensor per block, so"
            f" quantized ones could not be loaded again. {prune}"
        )
    of_recipe(recipe).check(model)
    if experts and recipe.method == "awq" and recipe.format == formats.DEFAULT:
        advice = (
            "format awq" if recipe.bits in formats.LAYOUTS["awq"].bits_written else "method gptq"
        )
        raise UserError(
            f"transformers cannot read the experts of {kind} with zero points, which AWQ has, in"
            f" format {formats.DEFAULT}. Use {advice}."
        )


def _loads_packed(model: "PreTrainedModel") -> bool:
    """Whether transformers can prepare a model, given as a skeleton, with packed weights.

    It initializes every module first, and some families look at the weights of their layers then.
    """
    from comptrust.compression import targets

    layers = targets.target_layers(model).values()
    weights = [layer._parameters.pop("weight") for layer in layers]
    try:
        for module in model.modules():
            model._init_weights(module)
    except AttributeError:
        return False
    finally:
        for layer, weight in zip(layers, weights, strict=True):
            layer._parameters["weight"] = weight
    return True


def check_texts(recipe: Recipe) -> None:
    """Raise UserError if the calibration texts cannot be read or are too few."""
    if recipe.calibration:
        from comptrust.compression import calibration

        calibration.rows(recipe.calibration, count=int(recipe.calibration_samples or 0))


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the matrices that are compressed, of which experts have three."""
    return _shapes(loading.skeleton(folder))


def _shapes(model: "PreTrainedModel") -> dict[str, tuple[int, ...]]:
    from comptrust.compression import targets

    return {name: tuple(value.shape) for name, value in targets.matrices(model).items()}


def fit(recipe: Recipe, layers: Shapes) -> Recipe:
    """Return the recipe with its final group size.

    Raises UserError if groups or patterns do not divide every layer's inputs, or the format cannot
    hold a layer's outputs.
    """
    grouped = "group_size" in METHODS.get(recipe.method).model_fields
    if grouped and recipe.group_size is None:
        widths = {shape[-1] for shape in layers.values()}
        fitting = [size for size in GROUP_SIZES if not any(width % size for width in widths)]
        if not fitting:
            smallest = GROUP_SIZES[-1]
            odd = {name: shape[-1] for name, shape in layers.items() if shape[-1] % smallest}
            name, width = next(iter(odd.items()))
            raise UserError(
                f"No group size of {GROUP_SIZES} divides every layer of {recipe.base_model}: layer"
                f" {name} has {width} inputs. Give a group_size."
            )
        recipe = recipe.model_copy(update={"group_size": fitting[0]})
    pattern = Pattern.parse(recipe.structure)
    unit = recipe.group_size or (pattern.of if pattern else 1)
    for name, (*_, outputs, inputs) in layers.items():
        if inputs % unit:
            culprit = f"structure {recipe.structure}" if pattern else f"group_size {unit}"
            fixed = grouped and METHODS.get(recipe.method).model_fields["group_size"].default
            advice = "Use group_size auto"
            if pattern or fixed:
                advice = f"Use another {'structure' if pattern else 'method'}"
            raise UserError(
                f"{culprit} does not divide the {inputs} inputs of layer {name}. {advice}."
            )
        if recipe.format != formats.DEFAULT and outputs * int(recipe.bits or 0) % 32:
            raise UserError(
                f"Format '{recipe.format}' cannot hold the {outputs} outputs of layer {name}. Use"
                f" format {formats.DEFAULT}."
            )
    return recipe
