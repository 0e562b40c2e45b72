"""Does a recipe fit a model? Answered from the headers of its files, before it is loaded."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.compression.base import METHODS, Pattern
from comptrust.errors import UserError
from comptrust.models import formats, headers
from comptrust.records import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROUP_SIZES = (128, 64, 32)
"""The sizes that `auto` chooses from; the largest that fits wins."""
Shapes = Mapping[str, tuple[int, ...]]
"""Linear layer, without the head -> (outputs, inputs)."""


def check(recipe: Recipe, folder: Path) -> None:
    """Raise UserError if the recipe does not fit the model in a folder."""
    if recipe.method == "gguf":
        raise UserError(
            f"Format {recipe.format} is read, but not written. Write the file with llama.cpp, and"
            " register it with `comptrust register`."
        )
    fit(recipe, shapes(folder))


def check_texts(recipe: Recipe) -> None:
    """Raise UserError if the calibration texts cannot be read or are too few."""
    if recipe.calibration:
        from comptrust.compression import calibration

        calibration.rows(recipe.calibration, count=int(recipe.calibration_samples or 0))


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of the linear layers that are compressed."""
    return {
        tensor.name.removesuffix(".weight"): tensor.shape
        for tensor in headers.tensors(folder)
        if len(tensor.shape) == 2
        and tensor.name.endswith(".weight")
        and not re.search(r"embed|lm_head", tensor.name)
    }


def skeleton(folder: Path) -> "PreTrainedModel":
    """Build the model that a config.json describes, without any weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def fit(recipe: Recipe, layers: Shapes) -> Recipe:
    """Return the recipe with its final group size.

    Raises UserError if groups or patterns do not divide every layer's inputs, or the format cannot
    hold a layer's outputs.
    """
    if METHODS.get(recipe.method).kind == "quantization" and recipe.group_size is None:
        widths = {inputs for _, inputs in layers.values()}
        fitting = [size for size in GROUP_SIZES if not any(width % size for width in widths)]
        if not fitting:
            raise UserError(
                f"No group size of {GROUP_SIZES} divides every layer of {recipe.base_model}. Give a"
                " group_size."
            )
        recipe = recipe.model_copy(update={"group_size": fitting[0]})
    pattern = Pattern.parse(recipe.structure)
    unit = recipe.group_size or (pattern.of if pattern else 1)
    for name, (outputs, inputs) in layers.items():
        if inputs % unit:
            culprit = f"structure {recipe.structure}" if pattern else f"group_size {unit}"
            advice = "Use another structure" if pattern else "Use group_size auto"
            raise UserError(
                f"{culprit} does not divide the {inputs} inputs of layer {name}. {advice}."
            )
        if recipe.format != formats.DEFAULT and outputs * int(recipe.bits or 0) % 32:
            raise UserError(
                f"Format '{recipe.format}' cannot hold the {outputs} outputs of layer {name}. Use"
                f" format {formats.DEFAULT}."
            )
    return recipe
