"""Make a recipe's checkpoint, or reuse the one in the cache."""

from collections.abc import Callable
from pathlib import Path

from comptrust import config, digests
from comptrust.models.probe import InMemory
from comptrust.models.sources import Source
from comptrust.records import Checkpoint, Recipe
from comptrust.tracking import registry


def get(
    recipe: Recipe,
    source: Source,
    *,
    out: Path | None = None,
    existing: Source | None = None,
    watcher: InMemory | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Checkpoint:
    """Return the checkpoint of a recipe and its base model, or a copy of the `existing` one.

    It is written to `out`, else kept in the cache, where one of the same recipe, files and code is
    reused after every byte of it was verified.
    """
    from comptrust.compression import checkpoint, of_gguf
    from comptrust.compression.existing import adopt
    from comptrust.compression.oneshot import compress

    if out is not None:
        return compress(recipe, source=source, out=out, watcher=watcher, say=say)
    made_from = [recipe.digest_of_fields(), source.revision, digests.of_code()]
    if existing:
        made_from.append(existing.revision)
    name = registry.model_name(recipe.base_model, source.revision)
    key = digests.of_value(made_from)[:12]
    folder = config.cache_dir() / "checkpoints" / name / f"{recipe.slug}-{key}"
    if (folder / checkpoint.NAME).exists() and not checkpoint.verify(folder):
        # A process that was killed after the last rename leaves an empty folder.
        checkpoint.remove_leftovers(folder)
        say(f"reusing the checkpoint in {folder}")
        return checkpoint.load(folder)
    if existing and existing.gguf:
        return of_gguf.adopt(recipe, existing, source=source, out=folder, watcher=watcher, say=say)
    if existing:
        return adopt(recipe, existing.path, source=source, out=folder, watcher=watcher, say=say)
    return compress(recipe, source=source, out=folder, watcher=watcher, say=say)
