"""What the headers of safetensors files say about a folder's tensors; no weights are read."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from comptrust.errors import UserError

FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file."""

    name: str
    dtype: str
    """As safetensors names it: F32, BF16, I32, F8_E4M3, ..."""
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def stored(self) -> int:
        """Bytes in the file."""
        bits = re.search(r"\d+", self.dtype)  # a BOOL takes a byte
        return self.count * int(bits[0] if bits else 8) // 8


def check_present(folder: Path) -> None:
    """Raise UserError if a folder has no safetensors files."""
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{folder} has no *.safetensors files. Save the model with save_pretrained of"
            " transformers first."
        )


def tensors(folder: Path) -> Iterator[Tensor]:
    """Yield the tensors of all safetensors files in a folder, file by file.

    Raises UserError for a file that is not in the safetensors format or cannot be read.
    """
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="np") as file:
                for name in file.keys():  # noqa: SIM118 (not a dictionary)
                    view = file.get_slice(name)
                    yield Tensor(name, view.get_dtype(), tuple(view.get_shape()))
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"Cannot read the weights in {folder}: {' '.join(str(error).split())}."
            ) from error
