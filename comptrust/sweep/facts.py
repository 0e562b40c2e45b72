"""What is known of a dense model before it is loaded: which files it is, how many weights it has,
and what that asks of a machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from comptrust.errors import ServiceError, UserError, unknown
from comptrust.models import headers, presets, sources
from comptrust.records import Recipe
from comptrust.sweep.grid import Model
from comptrust.tracking import registry

PROCESS_BYTES = 1.2e9
"""Main memory of a cell's process without a model: torch, transformers, MLflow, Great
Expectations."""
CPU_BYTES_PER_WEIGHT = 10
"""Compressing holds the model twice in float32 (4 bytes a weight each), in memory and reloaded,
with room for activations.
"""
GPU_BYTES_PER_WEIGHT = 5
"""The same at 16 bits."""
SCALE_BITS = 16
DEFAULT_GROUP = 128
MODEL_FILES = ("*.json", "*.safetensors")


@dataclass(frozen=True)
class Facts:
    """One dense model."""

    name: str
    identity: str | None
    """Digest or commit of its files; None where a dry run could not reach them."""
    weights: int | None
    """None if nothing says how many."""
    linear: int | None
    """Weights in matrices other than embeddings and head: those that are compressed."""

    def memory(self, *, gpu: bool) -> float | None:
        """Return the bytes of main memory that a cell of this model needs, by estimate."""
        per_weight = (
            2 if gpu else CPU_BYTES_PER_WEIGHT
        )  # with a GPU the files pass through main memory at 16 bits
        return None if self.weights is None else PROCESS_BYTES + per_weight * self.weights

    def gpu_memory(self) -> float | None:
        """Return the bytes of GPU memory that a cell of this model needs, by estimate."""
        return None if self.weights is None else GPU_BYTES_PER_WEIGHT * self.weights

    def checkpoint_bytes(self, recipe: Recipe) -> float | None:
        """Return the size of a checkpoint: 16 bits a weight, quantized layers at their bits and one
        scale a group.
        """
        if self.weights is None:
            return None
        linear = self.weights if self.linear is None else self.linear
        bits = (
            16.0
            if recipe.bits is None
            else recipe.bits + SCALE_BITS / (recipe.group_size or DEFAULT_GROUP)
        )
        return (self.weights - linear) * 2 + linear * bits / 8


def of(model: Model, *, work: bool) -> Facts:
    """Look a model up without loading it. With `work` it must be there, and a builtin one is
    converted now, once for all cells.

    Raises UserError or ServiceError if it is not to be had; a dry run goes on with what the sweep
    file says of it.
    """
    name = model.name
    if name.startswith("builtin:"):
        return _builtin(model, work=work)
    if name.startswith("models:/"):
        version = registry.resolve(name)
        return Facts(
            name, version.tags.get("checkpoint_digest", version.source), model.parameters, None
        )
    if (
        "/" in name
        and not name.startswith((".", "/", "~"))
        and name.count("/") == 1
        and not Path(name).is_dir()
    ):
        return _hub(model, work=work)
    source = sources.resolve(name)
    return _of_folder(model, source.path, source.revision)


def _builtin(model: Model, *, work: bool) -> Facts:
    if (short := model.name.removeprefix("builtin:")) not in sources.BUILTIN:
        raise unknown("builtin model", short, sources.BUILTIN)
    identity = sources.GGUF_SHA256
    return (
        _of_folder(model, sources.resolve(model.name).path, identity)
        if work
        else Facts(model.name, identity, model.parameters, None)
    )


def _hub(model: Model, *, work: bool) -> Facts:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        folder = Path(
            snapshot_download(
                model.name,
                revision=presets.revision(model.name),
                allow_patterns=list(MODEL_FILES),
                local_files_only=True,
            )
        )
        if any(folder.glob("*.safetensors")):
            return _of_folder(model, folder, folder.name)
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    try:
        info = HfApi().model_info(model.name, revision=presets.revision(model.name), timeout=10)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserError(
            f"Hugging Face has no model '{model.name}' that you may read. Check the name, or set"
            " HF_TOKEN."
        ) from error
    except (
        Exception
    ) as error:  # httpx and huggingface_hub raise many classes for a network that is not there
        if work:
            raise ServiceError(
                f"Cannot reach Hugging Face for '{model.name}', which is not cached here. Check the"
                " network."
            ) from error
        return Facts(model.name, None, model.parameters, None)
    return Facts(
        model.name, info.sha, info.safetensors.total if info.safetensors else model.parameters, None
    )


def _of_folder(model: Model, folder: Path, identity: str) -> Facts:
    """Count the weights in the headers of the safetensors files."""
    total = linear = 0
    for tensor in headers.tensors(folder):
        total += tensor.count
        if len(tensor.shape) == 2 and not re.search(r"embed|lm_head", tensor.name):
            linear += tensor.count
    if not total:
        raise UserError(
            f"{folder} has no *.safetensors files. Save the model with save_pretrained of"
            " transformers first."
        )
    return Facts(model.name, identity, total, linear)
