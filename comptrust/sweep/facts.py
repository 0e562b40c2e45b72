"""What is known about a dense model before it is loaded: its files, its size, its memory needs."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from comptrust.errors import ServiceError, UserError, unknown
from comptrust.models import headers, presets, sources
from comptrust.records import Recipe
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
    linear: int | None = None
    """Weights in matrices other than embeddings and head, the ones that are compressed."""

    def checkpoint_bytes(self, recipe: Recipe) -> float | None:
        """Estimate the size of a checkpoint.

        16 bits per weight; quantized layers have their bits and one scale per group.
        """
        if self.weights is None:
            return None
        linear = self.weights if self.linear is None else self.linear
        scale = SCALE_BITS / (recipe.group_size or DEFAULT_GROUP)
        bits = 16.0 if recipe.bits is None else recipe.bits + scale
        return (self.weights - linear) * 2 + linear * bits / 8


def of(model: Model, *, work: bool) -> Facts:
    """Look a model up without loading it.

    With `work` it must be available, and a builtin one is converted now, once for all cells; a dry
    run makes do with what the sweep file says. Raises UserError or ServiceError if the model is
    not available.
    """
    name = model.name
    if name.startswith("builtin:"):
        if (short := name.removeprefix("builtin:")) not in sources.BUILTIN:
            raise unknown("builtin model", short, sources.BUILTIN)
        if not work:
            return Facts(name, sources.GGUF_SHA256, model.parameters)
        return _of_folder(model, sources.resolve(name).path, sources.GGUF_SHA256)
    if name.startswith("models:/"):
        version = registry.resolve(name)
        digest = version.tags.get("checkpoint_digest", version.source)
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
    tensors = list(headers.tensors(folder))
    linear = sum(
        tensor.count
        for tensor in tensors
        if len(tensor.shape) == 2 and not re.search(r"embed|lm_head", tensor.name)
    )
    return Facts(model.name, identity, sum(tensor.count for tensor in tensors), linear)
