"""From a recipe to a checkpoint: load, compress, save, reload, compare and measure."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.offload import dispatch_model
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from comptrust import digests
from comptrust.compression import (
    calibration,
    checkpoint,
    engine,
    expert_names,
    fitting,
    of_gguf,
    reload,
    rewrite,
    targets,
)
from comptrust.compression.base import Method, of_recipe
from comptrust.errors import ServiceError, UserError, show
from comptrust.models import formats, generation_settings, precision, presets, prompting, sources
from comptrust.models.base import Loaded
from comptrust.models.loading import load, save_tokenizer
from comptrust.models.probe import InMemory
from comptrust.records import Checkpoint, Recipe
from comptrust.text_tables import counted

Say = Callable[[str], None]


def compress(
    recipe: Recipe,
    *,
    out: Path,
    source: sources.Source | None = None,
    say: Say = lambda line: None,
    watcher: InMemory | None = None,
) -> Checkpoint:
    """Write the recipe's checkpoint to `out` and return its record.

    `out` appears whole or not at all. `source` is the resolved base model, if the caller has it.
    Raises UserError if `out` exists or the recipe does not fit the model, ServiceError if disk or
    memory run out or the reloaded checkpoint does not compute what the saved model did.
    """
    checkpoint.check_free(out)
    source = source or sources.resolve(recipe.base_model)
    watcher = watcher or InMemory(source, wants_dense=False)
    generation_settings.check(source.path)
    prompting.check(source.path)
    with checkpoint.writing(out, model=recipe.base_model) as folder:
        return _write(recipe, source, folder, out=out, say=say, watcher=watcher)


def _write(
    recipe: Recipe, source: sources.Source, folder: Path, *, out: Path, say: Say, watcher: InMemory
) -> Checkpoint:
    method, recipe = _fit(recipe.model_copy(update={"revision": source.revision}), source, say)
    if recipe.method == "gguf":
        return of_gguf.export(recipe, source, folder, out=out, say=say, watcher=watcher)
    say(f"loading {source.name}")
    model, tokenizer = _load_dense(source, watcher)
    names = list(targets.matrices(model)) if method.kind != "dense" else []
    replaced = {} if method.kind == "dense" else targets.take_apart(model)
    sizes = {name: row.weight.numel() for name, row in targets.target_layers(model).items()}
    samples: list[torch.Tensor] = []
    if method.uses_texts:
        texts = calibration.choose(
            str(recipe.calibration),
            count=int(recipe.calibration_samples or 0),
            seed=recipe.seed,
            model=model,
            tokenizer=tokenizer,
            template=presets.template(recipe.base_model),
        )
        recipe = recipe.model_copy(update={"calibration_digest": digests.of_value(texts)})
        samples = calibration.tokenize(texts, tokenizer)
        tokens = sum(ids.shape[1] for ids in samples)
        say(f"calibration: {counted(len(samples), 'text')}, {tokens} tokens")
    say(f"compressing {counted(len(sizes), 'layer')} with {recipe.slug}")
    engine.import_quietly()
    fell_back = _apply(method, model, samples, recipe)
    quantized = method.kind == "quantization"
    if not quantized:
        targets.put_back(model, replaced)
    if torch.accelerator.is_available():
        dispatch_model(model)  # compression left it in RAM
    say("saving, reloading and comparing")
    dense = _saved_dense(model, quantized=quantized, folder=source.path, dtype=recipe.save_dtype)
    # Round to the dtype that will be saved, at the dtype of computing, before comparing.
    with torch.no_grad():
        for value, dtype in dense:
            value.copy_(value.to(dtype))
    experts = [name for name, layer in replaced.items() if targets.is_experts(layer)]
    if quantized and experts:
        expert_names.prepare(model, experts, rounded=recipe.format == formats.DEFAULT)
    before = reload.logits(model, tokenizer)
    packed = folder if recipe.format == formats.DEFAULT else folder.with_name("packed")
    show(packed, out)
    for value, dtype in dense:
        value.data = value.data.to(dtype)
    _save(model, tokenizer, packed, quantized=quantized)
    if packed != folder:
        rewrite.rewrite(
            packed,
            folder,
            name=recipe.format,
            bits=int(recipe.bits or 0),
            group_size=int(recipe.group_size or 0),
        )
    # llm-compressor's tracing keeps the model alive; free it, so that only one is in memory.
    replaced.clear()
    for value in model.parameters():
        value.data = value.data.new_empty(0)
    try:
        reloaded, tokenizer = load(folder)
    except UserError as error:
        raise ServiceError(
            f"What {recipe.method} wrote cannot be loaded again: {error} It was removed; use"
            " another method."
        ) from error
    check = reload.compare(before, reload.logits(reloaded, tokenizer))
    sparsity, off_pattern = reload.zeros(reloaded, names, structure=recipe.structure)
    if off_pattern:
        raise ServiceError(
            f"Layer {off_pattern} does not have the pattern {recipe.structure} after"
            " pruning. The checkpoint was removed."
        )
    record = checkpoint.finish(
        folder,
        out=out,
        recipe=recipe,
        source=source,
        sparsity=sparsity,
        reload_check=check,
        fell_back={name: sizes[name] for name in fell_back},
        calibration_tokens=sum(ids.shape[1] for ids in samples) or None,
    )
    if method.kind != "dense":
        say(f"compressed {record.coverage}")
    watcher.loaded = reloaded, tokenizer
    return record


def _apply(
    method: Method, model: PreTrainedModel, samples: list[torch.Tensor], recipe: Recipe
) -> list[str]:
    """Compress in place and return the layers that a simpler method had to compress.

    Raises ServiceError if the method fails; the recipe and the model were checked before.
    """
    try:
        return list(method.apply(model, samples) or ())
    except (UserError, ServiceError, OSError, MemoryError, torch.OutOfMemoryError):
        raise
    # llm-compressor lets the errors of many libraries through
    except Exception as error:
        if "memory" in str(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ServiceError(
            f"{recipe.method} failed on {type(model).__name__}: {reason}. Nothing was kept; use"
            " another method."
        ) from error


def _load_dense(source: sources.Source, watcher: InMemory) -> Loaded:
    if watcher.wants_dense and torch.accelerator.is_available():
        # The watcher compares with a model on the accelerator, which rounds differently from the
        # processor. Loaded twice, but never both at once.
        watcher.dense(*load(source.path))
    loaded = load(source.path, spread=False)
    generation_settings.settle(loaded[0].generation_config, source.path)
    if watcher.wants_dense and not torch.accelerator.is_available():
        watcher.dense(*loaded)
    return loaded


def _fit(recipe: Recipe, source: sources.Source, say: Say) -> tuple[Method, Recipe]:
    """Build the method for this model, and return it with the recipe's final group size."""
    auto = recipe.group_size
    recipe = fitting.check(recipe, source.path)
    if recipe.group_size != auto:
        say(f"group size auto: {recipe.group_size}")
    return of_recipe(recipe), recipe


def _saved_dense(
    model: PreTrainedModel, *, quantized: bool, folder: Path, dtype: str | None
) -> list[tuple[torch.nn.Parameter, torch.dtype]]:
    """Return the parameters that are saved as floats, each with the dtype to save it in.

    That is `dtype` or, without one, the dtype in the source's files. The weights of quantized
    layers are packed as integers instead. At 8 bits, a code computed from a weight that was first
    rounded to 16 bits would often be off by one. Zero points are integers already.
    """
    stored, usual = ({}, dtype) if dtype else precision.stored(folder)
    layers = targets.target_layers(model).values() if quantized else ()
    # A recipe may leave some of them dense.
    packed = {id(layer.weight) for layer in layers if hasattr(layer, "quantization_scheme")}
    return [
        (value, getattr(torch, stored.get(name, usual)))
        for name, value in model.named_parameters()
        if value.is_floating_point()
        and id(value) not in packed
        and not name.endswith("_global_scale")  # float32 in every file
    ]


def _save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, quantized: bool
) -> None:
    """Save the model; quantized layers as packed integers (compressed-tensors)."""
    settings: dict[str, Any] = {"save_compressed": True} if quantized else {}
    try:
        model.save_pretrained(folder, **settings)
        if quantized:
            _complete_ignored(model, folder)
        save_tokenizer(tokenizer, folder)
    except Exception as error:
        # After a failed write, safetensors raises its own class and tokenizers a bare Exception.
        if not isinstance(error, SafetensorError) and type(error) is not Exception:
            raise
        raise ServiceError(
            f"Cannot save the checkpoint: {error}. Nothing was kept; free space or choose another"
            " folder."
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _complete_ignored(model: PreTrainedModel, folder: Path) -> None:
    """Name all layers that stayed dense; the library leaves out those of another class."""
    path = folder / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    quantization = settings["quantization_config"]
    quantization["ignore"] = sorted({*quantization["ignore"], *targets.dense_layers(model)})
    digests.write_atomic(path, json.dumps(settings, indent=2) + "\n")
