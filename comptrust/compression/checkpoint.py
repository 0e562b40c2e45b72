"""A checkpoint folder: measured sizes, a manifest of every byte, and the check that nothing changed
since.
"""

from __future__ import annotations

import glob
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.models import headers
from comptrust.records import Checkpoint

NAME = "checkpoint.json"
PACKAGES = ("torch", "transformers", "llmcompressor", "compressed-tensors", "comptrust")


def load(folder: Path) -> Checkpoint:
    """Read a folder's checkpoint.json. Raises UserError if it is missing or broken."""
    path = folder / NAME
    if not path.exists():
        raise UserError(
            f"{folder} has no {NAME}; it was not written by comptrust compress, or not finished."
        )
    return config.parse(config.read_json(path), Checkpoint, where=str(path))


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `out` to write in; what killed processes of this machine left
    there is removed first.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.{platform.node()}-"
    for left in out.parent.glob(f"{glob.escape(prefix)}*"):
        if not _alive(left.name.removeprefix(prefix).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{prefix}{os.getpid()}-") as temporary:
        yield Path(temporary)


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, PermissionError):
        return True  # not ours to judge
    except ProcessLookupError:
        return False
    return True


def manifest(folder: Path) -> dict[str, str]:
    """Return relative path -> SHA-256 of every file but checkpoint.json."""
    return digests.of_folder(folder, leave_out=[NAME])


def verify(folder: Path) -> list[str]:
    """Return the names of files that were changed, removed or added since the checkpoint was
    written; none is good.
    """
    recorded, present = load(folder).manifest, manifest(folder)
    return sorted(
        name for name in recorded.keys() | present.keys() if recorded.get(name) != present.get(name)
    )


def versions() -> dict[str, str]:
    """Return the versions of the packages that shape a checkpoint."""
    return {name: version(name) for name in PACKAGES}


def weight_bytes(folder: Path) -> int:
    """Return the size of all weight files, in bytes."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def dense_bytes(folder: Path) -> int:
    """Return the size that a dense folder's weight files have at 16 bits per weight, in bytes.

    Raises UserError if the folder has no safetensors files.
    """
    total = weight_bytes(folder)
    if not total:
        raise UserError(
            f"{folder} has no *.safetensors files. Save the model with save_pretrained of"
            " transformers first."
        )
    return total - sum(tensor.stored - 2 * tensor.count for tensor in headers.tensors(folder))


def effective_bits(folder: Path, sizes: dict[str, int]) -> float:
    """Return the stored bits per weight: codes, scales, zero points and order, from the files.

    `sizes` gives the number of weights of each target layer.
    """
    stored = 0
    for tensor in headers.tensors(folder):
        layer, _, kind = tensor.name.rpartition(".")
        if layer in sizes and kind != "bias":
            stored += 8 * tensor.stored
    return stored / sum(sizes.values())
