"""A checkpoint that is one GGUF file: taken over from elsewhere, and measured from its header.

The folder also has config.json and the tokenizer, which MLflow needs. Loading uses the GGUF file
alone (`models.gguf_folder`).
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from comptrust.compression import checkpoint, reload, targets
from comptrust.compression.existing import SHAPE
from comptrust.errors import UserError
from comptrust.models import loading, memory
from comptrust.models.probe import InMemory
from comptrust.models.sources import Source
from comptrust.records import Checkpoint, Recipe


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
        return finish(folder, candidate.path, recipe, source, out=out, say=say, watcher=watcher)


def finish(
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
