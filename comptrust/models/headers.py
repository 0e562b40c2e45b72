"""What the headers of safetensors files say about a folder's tensors; no weights are read.

A file begins with the length of its header (8 bytes, little-endian), then the header as JSON:
https://huggingface.co/docs/safetensors, "Format".
"""

import json
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from comptrust.errors import UserError
from comptrust.models import gguf

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Floats of 16 bits and more -> their bytes."""
CODES = ("I8", "U8", "I4", "U4", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4")
"""Dtypes of numbers that mean something only with their scales."""
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_BYTES = 100_000_000
"""Largest header that safetensors itself reads."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file."""

    name: str
    dtype: str
    """As safetensors names it: F32, BF16, I32, F8_E4M3, ..."""
    shape: tuple[int, ...]
    stored: int
    """Bytes in the file."""
    path: Path
    start: int
    """Where its values begin in the file, in bytes."""

    @property
    def count(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def files(folder: Path) -> list[Path]:
    """Return the files that hold a folder's weights: safetensors, or else one GGUF file.

    Where there is model.safetensors or an index, other files are not the model: some publishers add
    the same weights in another layout. Raises UserError for an index that cannot be read.
    """
    if file := gguf.file_in(folder):
        return [file]
    index, single = folder / INDEX, folder / SINGLE
    if single.exists():
        return [single]
    if not index.exists():
        return sorted(folder.glob("*.safetensors"))
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return sorted(folder / Path(name).name for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"Cannot read {index}: {' '.join(str(error).split())}.") from error


def check_present(folder: Path) -> None:
    """Raise UserError if a folder has no safetensors files."""
    if not files(folder):
        raise UserError(
            f"{folder} has no *.safetensors files. Save the model with save_pretrained of"
            " transformers first."
        )


def tensors(folder: Path) -> Iterator[Tensor]:
    """Yield the tensors of a folder's weight files, file by file, or of its GGUF file.

    Raises UserError for a file that is not in the safetensors format or cannot be read.
    """
    if packed := gguf.file_in(folder):
        yield from (Tensor(*fields) for fields in gguf.tensors(packed))
        return
    for path in files(folder):
        yield from of_file(path)


def of_file(path: Path) -> Iterator[Tensor]:
    """Yield the tensors of a safetensors file. Raises UserError as `tensors` does."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > path.stat().st_size:
                raise ValueError(f"{path.name} is shorter than its header")
            if size > MAX_BYTES:
                raise ValueError(f"the header of {path.name} has {size} bytes")
            header = json.loads(file.read(size))
        for name, field in header.items():
            if name != "__metadata__":
                start, end = field["data_offsets"]
                shape = tuple(map(operator.index, field["shape"]))
                if min(start, end - start, *shape) < 0:
                    raise ValueError(f"{path.name} has a tensor {name} of negative size")
                yield Tensor(name, field["dtype"], shape, end - start, path, 8 + size + start)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"Cannot read the weights in {path.parent}: {reason}.") from error
