"""Where things are kept, and YAML files that become records."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from comptrust.errors import UserError

T = TypeVar("T", bound=BaseModel)
DIMENSIONS = ("toxicity", "stereotype", "adv_robustness", "ood", "adv_demonstration", "privacy", "ethics", "fairness", "mmlu")


def cache_dir() -> Path:
    """Return the cache folder: COMPTRUST_CACHE, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "comptrust"
    return Path(os.environ.get("COMPTRUST_CACHE", default))


def read_text(path: Path) -> str:
    """Read a UTF-8 file. Raises UserError that names the file and the reason."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}). Save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error


def load_yaml(path: Path, record: type[T]) -> T:
    """Read a YAML file into a record. Raises UserError naming file and field."""
    try:
        data = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    return parse(data, record, where=str(path))


def parse(data: object, record: type[T], *, where: str) -> T:
    """Validate plain data as a record. Raises UserError naming where it stood and the first wrong field."""
    try:
        return record.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise UserError(f"{where}: field '{field}': {first['msg']} (got {first['input']!r:.80}).") from error
