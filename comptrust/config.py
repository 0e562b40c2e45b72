"""Paths, and strict, size-limited parsing of outside text into data and records."""

import functools
import json
import math
import os
import re
import reprlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from comptrust.errors import UserError, unknown

T = TypeVar("T")
ADAPTERS: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)
SHIPPED = Path(__file__).parent / "shipped"
"""Recipes, sweeps and policies; links to `pipelines/` and `validation/` in a checkout."""
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""The JSON escape of half a character; alone it is not valid text."""
MAX_BYTES = 1 << 30
"""Largest file to read; one model's published answers to one dimension take less than 100 MB."""
MAX_YAML_BYTES = 1 << 20
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Builds only plain data. The C version, if installed, is not slowed down by deep nesting."""


def shipped_or_file(name: str, *, kind: str) -> Path:
    """Return a shipped recipe or sweep (`kind`) by name, or a YAML file. Raises UserError."""
    shipped = {path.stem: path for path in (SHIPPED / f"{kind}s").glob("*.yaml")}
    path = shipped.get(name, Path(name))
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"There is no {kind} file {path}.")
    raise unknown(kind, name, shipped)


def cache_dir() -> Path:
    """Return COMPTRUST_CACHE or, by default, `comptrust` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "comptrust"
    return Path(os.environ.get("COMPTRUST_CACHE", default))


def path_of(text: str) -> Path:
    """Return a path as written by a user, with `~` expanded."""
    return Path(os.path.expanduser(text))


def read_text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """Read a UTF-8 file of at most `max_bytes` bytes. Raises UserError naming file and reason."""
    content = bytearray()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                content += chunk
                if len(content) > max_bytes:
                    raise _too_large(str(path), max_bytes=max_bytes)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise UserError(
            f"Cannot read {path}: {getattr(error, 'strerror', None) or error}."
        ) from error
    return decoded(bytes(content), where=str(path))


def decoded_lines(file: IO[bytes], *, max_bytes: int = MAX_BYTES, where: str) -> Iterator[str]:
    """Yield the lines of an open UTF-8 file, without their ends. Raises UserError as read_text."""
    read = 0
    while line := file.readline(max_bytes + 1):
        if read + len(line) > max_bytes:
            raise _too_large(where, max_bytes=max_bytes)
        content = line.removesuffix(b"\n").removesuffix(b"\r")
        yield from decoded(content, where=where, offset=read).split("\n")
        read += len(line)


def _too_large(where: str, *, max_bytes: int) -> UserError:
    return UserError(
        f"{where} is larger than {max_bytes >> 20} MB, the limit for this kind of file. Is it the"
        " right file?"
    )


def decoded(content: bytes, *, where: str, offset: int = 0) -> str:
    """Return UTF-8 bytes with line feeds as text. Raises UserError naming `where` and the byte."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where} is not UTF-8 (byte {offset + error.start}). Save it as UTF-8."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError naming file, line and reason."""
    return json_value(read_text(path), where=str(path))


def json_value(text: str, *, where: str) -> Any:
    """Parse strict JSON with finite numbers. Raises UserError naming `where` and the line."""
    try:
        value = STRICT_DECODER.decode(text)
        if SURROGATE.search(text):  # encoding finds a lone one, but takes time
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: not valid JSON: it has half a character (a lone \\ud800 to \\udfff). Repair"
            " or remove it."
        ) from error
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in text.strip() else ""
        raise UserError(
            f"{where}{line}: not valid JSON: {error.msg}. Repair or remove it."
        ) from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{where}: not valid JSON: {reason}. Repair or remove it.") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; two readers could take a different one of two fields of a name."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"field {twice[:40]!a} is there twice")
    return fields


STRICT_DECODER = json.JSONDecoder(
    parse_constant=_finite, parse_float=_finite, object_pairs_hook=_unique
)


class UniqueLoader(LOADER):  # type: ignore[misc, valid-type]
    """Builds only plain data, and refuses a key that is there twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) != len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"'{twice:.40}' is there twice, line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> Any:
    """Read a YAML file. Raises UserError naming file, line and reason."""
    return yaml_value(read_text(path, max_bytes=MAX_YAML_BYTES), where=str(path))


def yaml_value(text: str, *, where: str) -> Any:
    """Parse YAML into plain data. Raises UserError, also for aliases, which can expand a lot."""
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, LOADER)):
            raise UserError(
                f"{where} has a YAML alias (*name), which is not allowed here. Write the value out."
            )
        return yaml.load(text, UniqueLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}.") from error
    except (ValueError, RecursionError) as error:
        # ValueError: a date such as 2026-13-01, or a number with thousands of digits.
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{where} is not valid YAML: {reason}.") from error


def load_json(path: Path, record: type[T]) -> T:
    """Read a JSON file into a record. Raises UserError naming file and field."""
    return parse(read_json(path), record, where=str(path))


def load_yaml(path: Path, record: type[T]) -> T:
    """Read a YAML file into a record. Raises UserError naming file and field."""
    return parse(read_yaml(path), record, where=str(path))


def parse(data: object, record: type[T], *, where: str) -> T:
    """Validate plain data as a record. Raises UserError naming `where` and the first bad field."""
    try:
        validated: T = ADAPTERS(record).validate_python(data)
        return validated
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise UserError(
            f"{where}: field '{field:.80}': {first['msg']} (got"
            f" {reprlib.repr(first['input']):.80})."
        ) from error
