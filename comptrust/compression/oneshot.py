"""From a recipe to a checkpoint: load, compress, save, reload, compare, measure, and only then
count.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust import digests
from comptrust.compression import calibration, checkpoint, engine
from comptrust.compression.base import Method, get, target_layers
from comptrust.errors import ComptrustError, ServiceError, UserError
from comptrust.models import formats, sources
from comptrust.models.inference import heap
from comptrust.models.loading import load
from comptrust.records import Checkpoint, Recipe, ReloadCheck

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

GROUP_SIZES = (128, 64, 32)
FIXED_PROMPTS = (
    "The capital of France is",
    "Water boils at one hundred degrees. A kettle on the stove begins to",
    "Question: is it wrong to take what belongs to somebody else? Answer:",
)
TOLERANCE = 0.05
"""Largest logit difference allowed after reloading; the model in memory was rounded to the saved 16
bits first.
"""


def compress(
    recipe: Recipe, *, out: Path, progress: Callable[[str], None] = lambda line: None
) -> Checkpoint:
    """Write the recipe's checkpoint to `out` and return its record; `out` appears whole or not at
    all.

    Raises UserError if `out` exists or the recipe does not fit the model, ServiceError if disk or
    memory give out or the reloaded checkpoint is not the model that was saved.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already. Choose another --out or remove it.")
    source = sources.resolve(recipe.base_model)
    try:
        with checkpoint.beside(out) as hidden:
            folder = hidden / "checkpoint"
            record = _write(recipe, source, folder, out, progress)
            if out.is_dir():
                out.rmdir()
            folder.rename(out)
            return record
    except ComptrustError:
        raise
    except OSError as error:
        what = (
            "The disk is full"
            if error.errno == errno.ENOSPC
            else f"Cannot write to {out.parent}: {error.strerror or error}"
        )
        raise ServiceError(
            f"{what}. Nothing was kept; free space or choose another --out."
        ) from error
    except (
        MemoryError,
        RuntimeError,
    ) as error:  # torch reports a failed allocation as a RuntimeError
        if isinstance(error, MemoryError) or "memory" in str(error):
            raise ServiceError(
                f"Not enough memory to compress {recipe.base_model}. Nothing was kept; use a"
                " machine with more, or a smaller model."
            ) from error
        raise


def _write(
    recipe: Recipe, source: sources.Source, folder: Path, out: Path, progress: Callable[[str], None]
) -> Checkpoint:
    progress(f"loading {source.name}")
    model, tokenizer = load(source.path, spread=False)
    layers = target_layers(model)
    sizes = {name: layer.weight.numel() for name, layer in layers.items()}
    method, recipe = _fit(recipe.model_copy(update={"revision": source.revision}), layers, progress)
    samples: list[torch.Tensor] = []
    if method.calibrated:
        texts = calibration.choose(
            str(recipe.calibration),
            count=int(recipe.calibration_samples or 0),
            seed=recipe.seed,
            model=model,
            tokenizer=tokenizer,
        )
        recipe = recipe.model_copy(update={"calibration_digest": calibration.digest(texts)})
        samples = calibration.tokenize(texts, tokenizer)
        progress(
            f"calibration: {len(samples)} texts, {sum(ids.shape[1] for ids in samples)} tokens"
        )
    progress(f"compressing {len(layers)} layers with {recipe.slug}")
    engine.import_quietly()
    method.apply(model, samples)
    engine.dispatch(model)
    progress("saving, reloading and comparing")
    quantized = method.kind == "quantization"
    before = logits(_rounded(model, quantized=quantized), tokenizer)
    if recipe.format == formats.DEFAULT:
        _save(model, tokenizer, folder, quantized=quantized)
    else:
        packed = folder.with_name("packed")
        _save(model, tokenizer, packed, quantized=quantized)
        formats.rewrite(
            packed,
            folder,
            name=recipe.format,
            bits=int(recipe.bits or 0),
            group_size=int(recipe.group_size or 0),
        )
    _release(model)
    reloaded, _ = load(folder)
    check = _compare(before, logits(reloaded, tokenizer))
    saved = target_layers(reloaded)  # packed layers hold their weights once the model has computed
    structure = _verified(recipe.structure, saved)
    sparsity = sum(
        layer.weight.numel() - int(layer.weight.count_nonzero()) for layer in saved.values()
    ) / sum(sizes.values())
    manifest = checkpoint.manifest(folder)
    record = Checkpoint(
        recipe=recipe,
        path=str(out.resolve()),
        digest=digests.of_value(manifest),
        manifest=manifest,
        bytes=checkpoint.weight_bytes(folder),
        dense_bytes=checkpoint.dense_bytes(source.path),
        effective_bits=checkpoint.effective_bits(folder, sizes),
        sparsity=sparsity,
        structure_verified=structure,
        reload_check=check,
        versions=checkpoint.versions(),
    )
    digests.write_atomic(folder / checkpoint.NAME, record.model_dump_json(indent=2) + "\n")
    return record


def _fit(
    recipe: Recipe, layers: dict[str, torch.nn.Linear], progress: Callable[[str], None]
) -> tuple[Method, Recipe]:
    """Resolve what depends on the model's shapes and build the method."""
    method = get(recipe.method)
    fields: dict[str, Any] = dict(recipe.options)
    if method.kind == "quantization":
        size = recipe.group_size
        if size is None:
            fitting = [
                size
                for size in GROUP_SIZES
                if all(layer.in_features % size == 0 for layer in layers.values())
            ]
            if not fitting:
                raise UserError(
                    f"No group size of {GROUP_SIZES} divides every layer of {recipe.base_model}."
                    " Give --group-size."
                )
            size = fitting[0]
            progress(f"group size auto: {size}")
        for name, layer in layers.items():
            if layer.in_features % size:
                raise UserError(
                    f"--group-size {size} does not divide the {layer.in_features} inputs of layer"
                    f" {name}. Use --group-size auto."
                )
        recipe = recipe.model_copy(update={"group_size": size})
        fields |= {"bits": recipe.bits, "group_size": size}
    elif method.kind == "pruning":
        fields |= {"sparsity": recipe.sparsity, "structure": recipe.structure}
        of = 1 if recipe.structure == "unstructured" else int(str(recipe.structure).split(":")[1])
        for name, layer in layers.items():
            if layer.in_features % of:
                raise UserError(
                    f"--structure {recipe.structure} does not divide the {layer.in_features} inputs"
                    f" of layer {name}."
                )
    return method(**fields), recipe


def _verified(structure: str | None, layers: dict[str, torch.nn.Linear]) -> str | None:
    from comptrust.compression.masks import follows

    if structure is None or structure == "unstructured":
        return None
    for name, layer in layers.items():
        if not follows(layer.weight, structure):
            raise ServiceError(
                f"Layer {name} does not have the pattern {structure} after pruning; the checkpoint"
                " does not count."
            )
    return structure


def _saved_dense(model: PreTrainedModel, *, quantized: bool) -> list[torch.nn.Parameter]:
    """Return the parameters that are saved as 16-bit floats.

    The weights of quantized layers are not among them: they are packed as integers, and at 8 bits a
    code computed from a weight that was rounded to 16 bits before would often be off by one. Zero
    points are integers already.
    """
    packed = {id(layer.weight) for layer in target_layers(model).values()} if quantized else set()
    return [
        value
        for value in model.parameters()
        if value.is_floating_point() and id(value) not in packed
    ]


def _rounded(model: PreTrainedModel, *, quantized: bool) -> PreTrainedModel:
    """Round the model in place to the 16 bits that will be saved, and go on computing as before."""
    import torch

    with torch.no_grad():
        for value in _saved_dense(model, quantized=quantized):
            value.copy_(value.to(torch.bfloat16))
    return model


def _save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, quantized: bool
) -> None:
    """Save at 16 bits per dense value; quantized layers as packed integers in the
    compressed-tensors format.
    """
    import torch
    from safetensors import SafetensorError

    for value in _saved_dense(model, quantized=quantized):
        value.data = value.data.to(torch.bfloat16)
    try:
        settings: dict[str, Any] = {"save_compressed": True} if quantized else {}
        model.save_pretrained(folder, **settings)
        tokenizer.save_pretrained(folder)
    # of a failed write: safetensors has a class of its own, tokenizers the bare Exception
    except Exception as error:
        if not isinstance(error, SafetensorError) and type(error) is not Exception:
            raise
        raise ServiceError(
            f"Cannot save the checkpoint: {error}. Nothing was kept; free space or choose another"
            " --out."
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _release(model: PreTrainedModel) -> None:
    """Free the weights of a model that llm-compressor's tracing keeps alive, so that one model is
    in memory at a time.
    """
    for value in model.parameters():
        value.data = value.data.new_empty(0)
    heap.give_back()


def logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[torch.Tensor]:
    """Return the logits of the fixed prompts, one (length, vocabulary) tensor each.

    They are computed in one batch, since a model that unpacks or rounds its weights does so each
    time it is asked. What fills the rows up stands behind the prompts, where no token looks.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    rows = [tokenizer(text, return_tensors="pt")["input_ids"][0] for text in FIXED_PROMPTS]
    with torch.no_grad():
        found = model(pad_sequence(rows, batch_first=True).to(model.device)).logits
    return [found[number, : len(row)].float().cpu() for number, row in enumerate(rows)]


def _compare(before: list[torch.Tensor], after: list[torch.Tensor]) -> ReloadCheck:
    difference = max(float((old - new).abs().max()) for old, new in zip(before, after, strict=True))
    if not difference <= TOLERANCE:
        raise ServiceError(
            "The reloaded checkpoint is not the model that was saved: logits differ by"
            f" {difference:.3g} (tolerance {TOLERANCE}). It does not count and was removed."
        )
    return ReloadCheck(
        max_logit_difference=difference,
        tolerance=TOLERANCE,
        n_tokens=sum(len(old) for old in before),
    )
