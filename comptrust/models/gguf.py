"""What the header of a GGUF file, llama.cpp's format, says about its weights; none are read.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import functools
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust.errors import ServiceError, UserError

if TYPE_CHECKING:
    from gguf import GGUFReader

TYPES = (
    *("q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_1", "q5_0"),
    *("q4_k_m", "q4_k_s", "q4_1", "q4_0"),
)
"""What is written here; other types are read."""
FALLBACKS = {"q2_k": "iq4_nl", "q3_k": "iq4_nl", "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0"}
"""What llama.cpp stores rows in whose length is not a multiple of 256."""
DENSE = ("f16", "bf16", "f32")


def file_in(path: Path) -> Path | None:
    """Return the GGUF file that `path` is, or the only weights that it holds; None if neither.

    Raises UserError for a folder of several GGUF files.
    """
    if path.suffix == ".gguf" and path.is_file():
        return path
    files = sorted(path.glob("*.gguf"))
    if not files or any(path.rglob("*.safetensors")):
        return None
    if len(files) > 1:
        raise UserError(
            f"{path} holds {len(files)} GGUF files. Give one of them, such as {files[0]}."
        )
    return files[0]


def read(file: Path) -> "GGUFReader":
    """Open a file and read its header. Raises UserError if it is not a whole GGUF file."""
    library = _library()
    try:
        reader: GGUFReader = library.GGUFReader(file)
        ends = [int(tensor.data_offset + tensor.n_bytes) for tensor in reader.tensors]
    except Exception as error:  # the library raises many classes for a damaged file
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file} is not a whole GGUF file ({reason}). Fetch it again.") from error
    if not ends or max(ends) > file.stat().st_size:
        raise UserError(f"{file} ends before its weights do. Fetch it again.")
    if (parts := value(reader, "split.count") or 1) > 1:
        raise UserError(
            f"{file} is one of {parts} parts. Merge them with llama-gguf-split --merge, and give"
            " the result."
        )
    return reader


@contextmanager
def read_once() -> Iterator[None]:
    """Read the header of each file only once in the block.

    transformers reads it anew for config, weights and tokenizer. With a large vocabulary that takes
    seconds each time.
    """
    library = _library()
    plain = library.GGUFReader
    known = functools.cache(plain)
    library.GGUFReader = lambda path, *rest: known(os.fspath(path), *rest)
    try:
        yield
    finally:
        library.GGUFReader = plain


def _library() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ServiceError(
            "Reading GGUF files needs the package gguf. Install comptrust[compress]."
        ) from error
    return gguf


def value(reader: "GGUFReader", key: str) -> Any:
    """Return a value of the header, None if it has no such key."""
    field = reader.get_field(key)
    return None if field is None else field.contents()


def tensors(file: Path) -> Iterator[tuple[str, str, tuple[int, ...], int, Path, int]]:
    """Yield the fields of `headers.Tensor`; embedding and head are named as by transformers."""
    for tensor in read(file).tensors:
        name = {"token_embd.weight": "embed_tokens.weight", "output.weight": "lm_head.weight"}.get(
            tensor.name, tensor.name
        )
        shape = tuple(int(size) for size in reversed(tensor.shape))
        start = int(tensor.data_offset)
        yield name, tensor.tensor_type.name, shape, int(tensor.n_bytes), file, start


def kind(file: Path) -> str:
    """Return how a file is quantized, such as `q4_k_m`: as it says, if its weights agree.

    Otherwise it is named after the type that holds most of its weights.
    """
    from gguf import LlamaFileType

    reader, counts = read(file), Counter[str]()
    for tensor in reader.tensors:
        if len(tensor.shape) > 1 and tensor.name not in ("token_embd.weight", "output.weight"):
            counts[tensor.tensor_type.name.lower()] += math.prod(map(int, tensor.shape))
    if not counts:
        raise UserError(f"{file} has no layers, so it is not a language model.")
    most = counts.most_common(1)[0][0]
    number = value(reader, "general.file_type")
    names = {int(member): member.name.lower() for member in LlamaFileType}
    stated = names.get(number, "").removeprefix("mostly_").removeprefix("all_")
    base = next((name for name in FALLBACKS if stated.startswith(name)), stated)
    return stated if stated and most in (base, FALLBACKS.get(base)) else most


def describe(file: Path) -> str:
    """Describe the weights as `precision.weights` does."""
    name = kind(file)
    return f"dense (GGUF, {name})" if name in DENSE else f"quantized (GGUF, {name})"


def bits(name: str) -> int:
    """Return the bits in the name of a type, such as 4 for `q4_k_m`.

    Raises UserError for a name without a number.
    """
    digits = re.search(r"[0-9]+", name)
    if digits is None:
        raise UserError(f"'{name}' is not a type of GGUF files, such as q8_0 or q4_k_m.")
    return int(digits[0])
