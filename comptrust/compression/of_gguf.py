"""A checkpoint that is one GGUF file: written here or elsewhere, and measured from its header.

The folder also has config.json and the tokenizer, which MLflow needs. Loading uses the GGUF file
alone (`models.gguf_folder`).
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from comptrust.compression import checkpoint, gguf_export, reload, targets
from comptrust.compression.existing import SHAPE
from comptrust.errors import ServiceError, UserError
from comptrust.models import formats, gguf_folder, loading, memory
from comptrust.models.probe import InMemory
from comptrust.models.sources import Source
from comptrust.records import Checkpoint, Recipe

MAX_ROUNDING_ERROR = 4.0
"""Largest distance from the dense weights, in units of their size times 2^-bits."""


def check(candidate: Source, base: Source) -> None:
    """Raise UserError if a GGUF file has another architecture than its base model."""
    here, dense = memory.settings(candidate.path), memory.settings(base.path)
    for field in (*SHAPE, "num_key_value_heads"):
        if here.get(field) != dense.get(field):
            raise UserError(
                f"{field} is {here.get(field)} in {candidate.name} but {dense.get(field)} in"
                f" {base.name}, so {candidate.name} was not made from {base.name}."
            )


def adopt(
    recipe: Recipe,
    candidate: Source,
    *,
    source: Source,
    out: Path,
    say: Callable[[str], None] = lambda line: None,
    watcher: InMemory | None = None,
) -> Checkpoint:
    """Copy a GGUF file to the new folder `out` and return its record.

    Raises UserError or ServiceError as `existing.adopt` does.
    """
    assert candidate.gguf
    checkpoint.check_free(out)
    check(candidate, source)
    with checkpoint.writing(out, model=candidate.name, shown=candidate.name) as folder:
        folder.mkdir()
        shutil.copy(candidate.gguf, folder / candidate.gguf.name)
        return _finish(folder, candidate.path, recipe, source, out=out, say=say, watcher=watcher)


def export(
    recipe: Recipe,
    source: Source,
    folder: Path,
    *,
    out: Path,
    say: Callable[[str], None],
    watcher: InMemory,
) -> Checkpoint:
    """Write a dense model as a GGUF file into the new folder `folder`, and return its record.

    Raises ServiceError if what transformers reads from the file is not the dense model, rounded:
    weights in a wrong place or order are off by more than their own size.
    """
    name = recipe.format.removeprefix(formats.GGUF)
    folder.mkdir()
    file = folder / f"model-{name}.gguf"
    say(f"writing {file.name}")
    gguf_export.write(source.path, file, name)
    plain = gguf_folder.plain(file)
    gguf_export.check_tokens(source.path, plain)
    _compare(source.path, plain, bits=int(recipe.bits or 0))
    return _finish(folder, plain, recipe, source, out=out, say=say, watcher=watcher)


def _compare(dense: Path, plain: Path, *, bits: int) -> None:
    models = (loading.load(path, spread=False, dtype="float32")[0] for path in (plain, dense))
    rounded, weights = (model.state_dict() for model in models)
    for name, weight in weights.items():
        off = float((rounded[name] - weight).norm() / weight.norm().clamp(min=1e-9))
        if not off <= MAX_ROUNDING_ERROR * 2.0**-bits:
            raise ServiceError(
                f"{name} in the GGUF file is not that of the dense model, rounded to {bits} bits"
                f" (off by {off:.2g} of its size). It was removed."
            )


def _finish(
    folder: Path,
    plain: Path,
    recipe: Recipe,
    source: Source,
    *,
    out: Path,
    say: Callable[[str], None],
    watcher: InMemory | None,
) -> Checkpoint:
    """Describe the GGUF file in `folder`, load and measure it, and return the record.

    `plain` is the folder that was converted from it.
    """
    for path in plain.iterdir():
        if path.suffix != ".safetensors" and not path.name.endswith(".safetensors.index.json"):
            shutil.copy(path, folder / path.name)
    watcher = watcher or InMemory(source, wants_dense=False)
    say(f"loading and measuring {recipe.slug}")
    if watcher.wants_dense:
        watcher.dense(*loading.load(source.path))  # freed before the other model is loaded
    model, tokenizer = loading.load(plain)
    check = reload.finite(reload.logits(model, tokenizer))
    sparsity, _ = reload.zeros(model, list(targets.matrices(model)), structure=None)
    record = checkpoint.finish(
        folder,
        out=out,
        recipe=recipe.model_copy(update={"revision": source.revision}),
        source=source,
        sparsity=sparsity,
        reload_check=check,
    )
    watcher.loaded = model, tokenizer
    return record
