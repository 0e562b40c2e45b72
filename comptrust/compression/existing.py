"""Take over a checkpoint that was compressed elsewhere.

It is copied, compared with the recipe that the user states, loaded, and measured like our own.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from comptrust import digests
from comptrust.compression import checkpoint, fitting, reload
from comptrust.compression.base import METHODS
from comptrust.errors import UserError
from comptrust.models import (
    formats,
    headers,
    layout,
    loading,
    measure,
    memory,
    prompting,
    sources,
    stored,
)
from comptrust.models.probe import InMemory
from comptrust.records import Checkpoint, Recipe

AUTO = "auto"
"""The method that is named from the files."""
SHAPE = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)
"""Fields of config.json that compression does not change."""


def adopt(
    recipe: Recipe,
    folder: Path,
    *,
    out: Path,
    source: sources.Source | None = None,
    say: Callable[[str], None] = lambda line: None,
    watcher: InMemory | None = None,
) -> Checkpoint:
    """Copy a compressed model folder to `out` and return its record.

    `out` appears whole or not at all. `source` is the resolved base model, if the caller has it.
    Raises UserError if the files contradict the recipe or the base model, ServiceError if disk or
    memory run out or the logits are not finite.
    """
    checkpoint.check_free(out)
    source = source or sources.resolve(recipe.base_model)
    watcher = watcher or InMemory(source, wants_dense=False)
    recipe = named(recipe, folder)
    group_size = check(recipe, folder, base=source.path)
    loading.check_whole(folder)
    prompting.check(folder)
    with checkpoint.writing(out, model=str(folder), shown=folder) as copy:
        shutil.copytree(
            folder, copy, ignore=shutil.ignore_patterns(checkpoint.NAME, ".cache", ".git")
        )
        say(f"loading and measuring {folder}")
        if watcher.wants_dense:
            watcher.dense(*loading.load(source.path))  # freed before the other model is loaded
        recipe = recipe.model_copy(
            update={
                "revision": source.revision,
                "group_size": group_size,
                "format": formats.kind(copy) or _format(copy),
            }
        )
        model, tokenizer = loading.load(copy)
        reload_check = reload.finite(reload.logits(model, tokenizer))
        record = checkpoint.finish(
            copy,
            out=out,
            recipe=recipe,
            source=source,
            sparsity=_sparsity(recipe, model, fitting.shapes(source.path)),
            reload_check=reload_check,
        )
        watcher.loaded = model, tokenizer
        return record


def check(recipe: Recipe, folder: Path, *, base: Path) -> int | None:
    """Compare a folder's config.json with the recipe and the base model, before loading anything.

    Returns the group size in the files, None if they are not quantized in groups. Raises UserError
    naming the stated value and the one in the files.
    """
    config, dense = _shape(folder), _shape(base)
    for name in SHAPE:
        if config.get(name) != dense.get(name):
            raise UserError(
                f"{name} is {config.get(name)} in {folder} but {dense.get(name)} in"
                f" {recipe.base_model}, so {folder} was not made from {recipe.base_model}."
            )
    headers.check_present(folder)
    files = layout.describe(folder)
    kind = _kind(recipe.method)
    if kind != "quantization":
        if files.method != "none":
            raise UserError(
                f"You stated method {recipe.method}, but the files of {folder} are quantized"
                f" ({files.text})."
            )
        if kind == "dense" and _dense(folder) != _dense(base):
            raise UserError(
                f"You stated method none, but the weights or config.json of {folder} are not those"
                f" of {recipe.base_model}. State how it was made, or name it as its own base."
            )
        return None
    if files.method == "none":
        raise UserError(
            f"You stated bits {recipe.bits}, but {folder} has no quantization_config: its weights"
            f" are {files.text}."
        )
    if recipe.method not in (files.method, *files.algorithms):
        raise UserError(
            f"You stated method {recipe.method}, but the files of {folder} are {files.text}. Use"
            " method auto, which takes it from the files."
        )
    for name, value in (("bits", files.bits), ("group_size", files.group_size)):
        if getattr(recipe, name) not in (None, value):
            raise UserError(
                f"You stated {name} {getattr(recipe, name)}, but quantization_config of {folder}"
                f" says {value}."
            )
    stored.check(folder)
    return files.group_size


def named(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe, with what the files state if its method is theirs or `auto`.

    Raises UserError for weights that were pruned or rounded without a trace in config.json.
    """
    loading.check_format(folder)
    files = layout.describe(folder)
    if recipe.method not in (AUTO, files.method):
        return recipe
    if recipe.method == AUTO and files.method == "none" and not files.text.startswith("dense"):
        raise UserError(
            f"The weights of {folder} are {files.text}, and its files do not say by which method."
            " State the method."
        )
    return recipe.model_copy(
        update={
            "method": files.method,
            "bits": recipe.bits or files.bits,
            "group_size": recipe.group_size or files.group_size,
            "options": files.options,
            "structure": recipe.structure or files.structure,
        }
    )


def _kind(method: str) -> str:
    """Return the kind of a method; only quantized layouts have names that are not methods."""
    return str(METHODS.get(method).kind) if method in METHODS.names() else "quantization"


def _format(folder: Path) -> str:
    name = memory.quantization(folder).get("quant_method")
    return str(name) if name in memory.NATIVE else formats.DEFAULT


def _shape(folder: Path) -> dict[str, Any]:
    """Return the settings of the language model, which may be a part of a larger one."""
    fields = memory.settings(folder)
    inner = fields.get("text_config")
    return fields | inner if isinstance(inner, dict) else fields


def _dense(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Return what makes a dense model: its weight files, and its settings without versions."""
    files = {path.name: digests.of_file(path) for path in headers.files(folder)}
    return files, memory.settings(folder) | dict.fromkeys(("transformers_version", "_name_or_path"))


def _sparsity(recipe: Recipe, model: PreTrainedModel, layers: fitting.Shapes) -> float:
    """Return the share of zeros. Raises UserError if they are not as the recipe states."""
    sparsity, off_pattern = reload.zeros(model, layers, structure=recipe.structure)
    if off_pattern:
        raise UserError(
            f"You stated structure {recipe.structure}, but layer {off_pattern} does not have"
            " that pattern."
        )
    off = 0.0 if recipe.sparsity is None else abs(sparsity - recipe.sparsity)
    if off > measure.STATED_SPARSITY_TOLERANCE:
        raise UserError(
            f"You stated sparsity {recipe.sparsity:g}, but {sparsity:.1%} of the weights are zero."
        )
    return sparsity
