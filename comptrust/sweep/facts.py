"""What is known about a dense model before it is loaded: its files, its size, its memory needs."""

import math
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from comptrust.compression import fitting
from comptrust.compression.targets import matrices
from comptrust.errors import ServiceError, UserError, unknown
from comptrust.models import headers, loading, presets, sources
from comptrust.records import DENSE_BITS, Recipe
from comptrust.sweep.sweep_file import Model
from comptrust.tracking import registry

SCALE_BITS, DEFAULT_GROUP = 16, 128


@dataclass(frozen=True)
class Facts:
    """One dense model."""

    name: str
    identity: str | None
    """Digest or commit of its files; None if a dry run could not reach them."""
    weights: int | None
    """Number of weights, if known."""
    layers: fitting.Shapes = field(default_factory=dict)
    """The layers that are compressed, if known: all but embeddings and head."""

    def checkpoint_bytes(self, recipe: Recipe) -> float | None:
        """Estimate a checkpoint's size: 16 bits per weight, or `bits` and one scale per group."""
        if self.weights is None:
            return None
        sizes = {name: math.prod(shape) for name, shape in self.layers.items()}
        sizes = sizes or {"": self.weights}
        dense = (self.weights - sum(sizes.values())) * 2
        return dense + sum(
            size * stored_bits(recipe.bits_of(name), recipe.group_size) / 8
            for name, size in sizes.items()
        )


def stored_bits(bits: int | None, group_size: int | None) -> float:
    """Return the bits that a weight takes in the files, with its share of a scale."""
    return float(DENSE_BITS) if bits is None else bits + SCALE_BITS / (group_size or DEFAULT_GROUP)


def of(model: Model, *, work: bool) -> Facts:
    """Look a model up without loading it. Raises UserError or ServiceError if it is not available.

    With `work` a builtin one is converted; a dry run makes do with what the sweep file says.
    """
    name = model.name
    if name.startswith("builtin:"):
        if (short := name.removeprefix("builtin:")) not in sources.BUILTIN:
            raise unknown("builtin model", short, sources.BUILTIN)
        folder = sources.resolve(name).path if work else sources.converted(short)
        if folder is None:
            return Facts(name, sources.GGUF_SHA256, sources.BUILTIN_WEIGHTS)
        return _of_folder(model, folder, sources.GGUF_SHA256)
    if name.startswith("models:/"):
        version = registry.resolve(name)
        digest = registry.checkpoint_digest(version) or version.source
        return Facts(name, digest, model.parameters)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).is_dir():
        return _hub(model, work=work)
    source = sources.resolve(name)
    return _of_folder(model, source.path, source.revision)


def _hub(model: Model, *, work: bool) -> Facts:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    revision = presets.revision(model.name)
    with suppress(LocalEntryNotFoundError, HFValidationError):
        folder = Path(
            snapshot_download(
                model.name,
                revision=revision,
                allow_patterns=["*.json", "*.safetensors"],
                local_files_only=True,
            )
        )
        if any(folder.glob("*.safetensors")):
            return _of_folder(model, folder, folder.name)
        if not work and (folder / "config.json").is_file():
            return _of_config(model, folder)
    try:
        info = HfApi().model_info(model.name, revision=revision, timeout=10)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserError(
            f"Hugging Face has no model '{model.name}' that you may read. Check the name, or set"
            " HF_TOKEN."
        ) from error
    except Exception as error:  # httpx and huggingface_hub have many classes for a failed network
        if work:
            raise ServiceError(
                f"Cannot reach Hugging Face for '{model.name}', which is not cached here. Check the"
                " network."
            ) from error
        return Facts(model.name, None, model.parameters)
    weights = info.safetensors.total if info.safetensors else model.parameters
    return Facts(model.name, info.sha, weights)


def _of_folder(model: Model, folder: Path, identity: str) -> Facts:
    headers.check_present(folder)
    total = sum(tensor.count for tensor in headers.tensors(folder))
    return Facts(model.name, identity, total, fitting.shapes(folder))


def _of_config(model: Model, folder: Path) -> Facts:
    skeleton = loading.skeleton(folder)
    layers = {name: tuple(value.shape) for name, value in matrices(skeleton).items()}
    return Facts(model.name, folder.name, skeleton.num_parameters(), layers)
