"""A checkpoint folder: measured sizes, a manifest of every byte, and the check against it."""

import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import psutil

from comptrust import __version__, config, digests
from comptrust.errors import ServiceError, UserError, show
from comptrust.models import headers, measure
from comptrust.models.sources import Source
from comptrust.records import Checkpoint, Recipe, ReloadCheck
from comptrust.whereabouts import place

NAME = "checkpoint.json"
PACKAGES = ("torch", "transformers", "llmcompressor", "compressed-tensors")


def load(folder: Path) -> Checkpoint:
    """Read a folder's checkpoint.json. Raises UserError if it is missing or broken."""
    path = folder / NAME
    if not path.exists():
        raise UserError(
            f"{folder} has no {NAME}: comptrust did not write it, or did not finish. Compress the"
            " model again."
        )
    return config.parse(config.read_json(path), Checkpoint, where=str(path))


def check_free(out: Path) -> None:
    """Raise UserError if there is already something at `out`; an empty folder is fine."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already. Choose another folder or remove it.")


@contextmanager
def writing(out: Path, *, model: str, shown: object = None) -> Iterator[Path]:
    """Yield the path of a folder to create; it becomes `out` if the block succeeds.

    Errors call it `shown`, by default `out`. Raises ServiceError if the disk or the memory for
    `model` runs out.
    """
    try:
        with beside(out) as hidden:
            folder = hidden / "checkpoint"
            show(folder, shown or out)
            yield folder
            if out.is_dir():
                out.rmdir()
            folder.rename(out)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        cause = f"Cannot write to {out.parent}: {error.strerror or error}"
        raise ServiceError(
            f"{'The disk is full' if full else cause}. Nothing was kept; free space or choose"
            " another folder."
        ) from error
    except (MemoryError, RuntimeError) as error:
        # torch reports a failed allocation as a RuntimeError
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise ServiceError(
            f"Not enough memory for {model}. Nothing was kept; use a machine with more memory, or"
            " a smaller model."
        ) from error


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `out`, after removing those of killed processes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = remove_leftovers(out)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{prefix}{os.getpid()}-") as temporary:
        yield Path(temporary)


def remove_leftovers(out: Path) -> str:
    """Remove the hidden folders that killed processes of this machine left beside `out`.

    Returns how the names of these folders begin; the number of the process follows.
    """
    prefix = f".{out.name}.{place()}-"
    for leftover in out.parent.glob(f"{glob.escape(prefix)}*"):
        process = leftover.name.removeprefix(prefix).partition("-")[0]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(leftover, ignore_errors=True)
    return prefix


def manifest(folder: Path) -> dict[str, str]:
    """Return relative path -> SHA-256 of every file but checkpoint.json."""
    return digests.of_folder(folder, leave_out=[NAME])


def verify(folder: Path) -> list[str]:
    """Return the files that were changed, removed or added since the checkpoint was written.

    Every file is read and hashed.
    """
    recorded, present = load(folder).manifest, manifest(folder)
    return sorted(
        name for name in recorded.keys() | present.keys() if recorded.get(name) != present.get(name)
    )


def finish(
    folder: Path,
    *,
    out: Path,
    recipe: Recipe,
    source: Source,
    sparsity: float,
    reload_check: ReloadCheck,
    fell_back: Mapping[str, int] | None = None,
    calibration_tokens: int | None = None,
) -> Checkpoint:
    """Hash and measure the files, write checkpoint.json and return the record.

    `folder` will be moved to `out`. `sparsity` is the share of exact zeros in the layers that are
    compressed, `fell_back` the layers (and their weights) that a simpler method had to compress.
    The N:M structure of the recipe must have been verified.
    """
    files, measured = manifest(folder), measure.measure(folder)
    record = Checkpoint(
        recipe=recipe,
        path=str(out.resolve()),
        digest=digests.of_value(files),
        manifest=files,
        bytes=measured.bytes,
        dense_bytes=dense_bytes(source.path),
        effective_bits=measured.effective_bits,
        sparsity=sparsity if measured.sparsity is None else measured.sparsity,
        structure_verified=None if recipe.structure == "unstructured" else recipe.structure,
        reload_check=reload_check,
        parts=measured.parts,
        fell_back=dict(fell_back or {}),
        weights_at=measured.weights_at,
        calibration_tokens=calibration_tokens,
        versions={name: version(name) for name in PACKAGES} | {"comptrust": __version__},
    )
    if recipe.layer_bits:
        _check_mixture(record, folder)
    digests.write_atomic(folder / NAME, record.model_dump_json(indent=2) + "\n")
    return record


def _check_mixture(record: Checkpoint, folder: Path) -> None:
    """Raise ServiceError if a layer in the files does not have the bits that the recipe says."""
    try:
        measure.check(record, folder)
    except UserError as error:
        reason = str(error).replace("in checkpoint.json", "in the recipe")
        raise ServiceError(
            f"The mixed checkpoint was not written as its recipe says and was removed: {reason}"
        ) from error


def dense_bytes(folder: Path) -> int:
    """Return the size a dense folder's weight files would have at 16 bits per weight, in bytes.

    Raises UserError if the folder has no safetensors files.
    """
    headers.check_present(folder)
    stored = sum(path.stat().st_size for path in headers.files(folder))
    return stored - sum(tensor.stored - 2 * tensor.count for tensor in headers.tensors(folder))
