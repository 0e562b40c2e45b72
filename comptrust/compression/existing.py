"""A checkpoint that was compressed elsewhere: copied, held against the recipe that its user states,
loaded and measured like our own.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust import digests
from comptrust.compression import checkpoint, masks, oneshot
from comptrust.compression.base import get, target_layers
from comptrust.errors import ComptrustError, ServiceError, UserError
from comptrust.models import formats, loading, memory, sources
from comptrust.records import Checkpoint, Recipe, ReloadCheck

if TYPE_CHECKING:
    import torch

SHAPE = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)
"""What compression leaves as it is: fields of config.json that both models share."""
NEAR = 0.02
"""How far the measured share of zeros may be from the stated one."""


def adopt(
    recipe: Recipe, folder: Path, *, out: Path, progress: Callable[[str], None] = lambda line: None
) -> Checkpoint:
    """Copy a compressed model folder to `out` and return its record; `out` appears whole or not at
    all.

    Raises UserError if the files contradict the recipe or the base model, ServiceError if disk or
    memory give out or its logits are not finite.
    """
    source = sources.resolve(recipe.base_model)
    group_size = check(recipe, folder, base=source.path)
    try:
        with checkpoint.beside(out) as hidden:
            copy = hidden / "checkpoint"
            shutil.copytree(
                folder, copy, ignore=shutil.ignore_patterns(checkpoint.NAME, ".cache", ".git")
            )
            progress(f"loading and measuring {folder}")
            found = {
                "revision": source.revision,
                "group_size": group_size,
                "format": formats.kind(copy) or formats.DEFAULT,
            }
            record = _measure(recipe.model_copy(update=found), source.path, copy, out)
            digests.write_atomic(copy / checkpoint.NAME, record.model_dump_json(indent=2) + "\n")
            copy.rename(out)
            return record
    except ComptrustError:
        raise
    except OSError as error:
        what = (
            "The disk is full"
            if error.errno == errno.ENOSPC
            else f"Cannot write to {out.parent}: {error.strerror or error}"
        )
        raise ServiceError(f"{what}. Nothing was kept.") from error


def check(recipe: Recipe, folder: Path, *, base: Path) -> int | None:
    """Return the group size that the files hold (None if they are not quantized in groups), before
    anything is loaded.

    Raises UserError naming what is stated and what the files say.
    """
    mine, dense = (memory.settings(path) for path in (folder, base))
    for field in SHAPE:
        if mine.get(field) != dense.get(field):
            raise UserError(
                f"{folder} has {field} {mine.get(field)}, --base {recipe.base_model}"
                f" {dense.get(field)}: it is not its model."
            )
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{folder} has no *.safetensors files. Save the model with save_pretrained of"
            " transformers first."
        )
    found = memory.quantization(folder)
    kind = str(found.get("quant_method", ""))
    if get(recipe.method).kind != "quantization":
        if found:
            raise UserError(
                f"--method {recipe.method} was stated, but the files of {folder} are quantized"
                f" ({kind})."
            )
        return None
    if not found:
        raise UserError(
            f"--bits {recipe.bits} was stated, but {folder} has no quantization_config: its weights"
            " are dense."
        )
    if kind in ("gptq", "awq") and kind != recipe.method:
        raise UserError(
            f"--method {recipe.method} was stated, but the files of {folder} are in the"
            f" {kind.upper()} format."
        )
    bits, group = _stated(found)
    if bits != recipe.bits:
        raise UserError(
            f"--bits {recipe.bits} was stated, but quantization_config of {folder} says {bits}."
        )
    if recipe.group_size not in (None, group):
        raise UserError(
            f"--group-size {recipe.group_size} was stated, but quantization_config of {folder} says"
            f" {group}."
        )
    return group


def _stated(found: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return bits and group size of a quantization_config: of GPTQ and AWQ, or of
    compressed-tensors with one kind of layer.
    """
    if "config_groups" not in found:
        size = found.get("group_size", found.get("q_group_size"))
        return found.get("bits", found.get("w_bit")), size if size and size > 0 else None
    kinds = {
        (one["num_bits"], one.get("group_size"))
        for group in found["config_groups"].values()
        if (one := group.get("weights"))
    }
    if len(kinds) != 1:
        raise UserError(
            f"Its quantization_config mixes {len(kinds)} kinds of layers (bits, group size):"
            f" {sorted(map(str, kinds))}."
        )
    return kinds.pop()


def _measure(recipe: Recipe, base: Path, folder: Path, out: Path) -> Checkpoint:
    import torch

    sizes = dict(_layers(base))
    model, tokenizer = loading.load(folder)
    logits = oneshot.logits(model, tokenizer)
    if not all(bool(torch.isfinite(row).all()) for row in logits):
        raise ServiceError(
            f"{folder.name} loads, but its logits are not finite numbers: it is no usable model,"
            " and was not registered."
        )
    modules = dict(model.named_modules())
    zeros = 0
    for name in sizes:
        weight = _weight(modules.get(name), name)
        zeros += int((weight == 0).sum())
        if recipe.structure not in (None, "unstructured") and not masks.follows(
            weight, str(recipe.structure)
        ):
            raise UserError(
                f"--structure {recipe.structure} was stated, but layer {name} does not have that"
                " pattern."
            )
    sparsity = zeros / sum(sizes.values())
    if recipe.sparsity is not None and abs(sparsity - recipe.sparsity) > NEAR:
        raise UserError(
            f"--sparsity {recipe.sparsity:g} was stated, but {sparsity:.1%} of the weights are"
            " zero."
        )
    manifest = checkpoint.manifest(folder)
    return Checkpoint(
        recipe=recipe,
        path=str(out.resolve()),
        digest=digests.of_value(manifest),
        manifest=manifest,
        bytes=checkpoint.weight_bytes(folder),
        dense_bytes=checkpoint.dense_bytes(base),
        effective_bits=checkpoint.effective_bits(folder, sizes),
        sparsity=sparsity,
        structure_verified=None if recipe.structure == "unstructured" else recipe.structure,
        reload_check=ReloadCheck(
            max_logit_difference=None,
            tolerance=oneshot.TOLERANCE,
            n_tokens=sum(len(row) for row in logits),
        ),
        versions=checkpoint.versions(),
    )


def _layers(base: Path) -> Iterator[tuple[str, int]]:
    """Yield name and number of weights of every linear layer of the dense model but the head."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(base, trust_remote_code=False)
        )
    for name, layer in target_layers(model).items():
        yield name, layer.weight.numel()


def _weight(layer: Any, name: str) -> torch.Tensor:
    """Return a layer's weights as floating-point numbers. Raises ServiceError for a layer that
    cannot show them.
    """
    weight: torch.Tensor | None = getattr(layer, "weight", None)
    if weight is not None and weight.is_floating_point() and weight.dim() == 2:
        return weight
    if hasattr(layer, "dequantize_weight"):
        unpacked: torch.Tensor = layer.dequantize_weight().T
        return unpacked
    raise ServiceError(
        f"Layer {name} ({type(layer).__name__}) does not show its weights, so they cannot be"
        " measured."
    )
