"""Generations files: one record a line, plain or xz, read strictly and written whole."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.records import Generation


def read_generations(path: Path) -> list[Generation]:
    """Read a .jsonl or .jsonl.xz file of generations.

    Raises UserError naming file, line and field for a broken line, a wrong type, a duplicated id or no line at all.
    """
    rows: list[Generation] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        generation = config.parse(config.json_value(line, where=where), Generation, where=where)
        if not generation.texts:
            raise UserError(f"{where}: field 'texts' is empty; an answer needs at least one text (it may be blank).")
        if generation.id in seen:
            raise UserError(f"{where}: field 'id': '{generation.id}' stands already in line {seen[generation.id]}.")
        seen[generation.id] = number
        rows.append(generation)
    if not rows:
        raise UserError(f"{path} holds no generations.")
    return rows


def write_generations(path: Path, generations: Iterable[Generation]) -> str:
    """Write a .jsonl file, whole or not at all, and return its SHA-256."""
    records = (json.dumps(generation.model_dump(mode="json"), ensure_ascii=True) for generation in generations)
    digests.write_atomic(path, "".join(f"{line}\n" for line in records))
    return digests.of_file(path)


def lines(path: Path) -> list[str]:
    """Read the lines of a plain or xz file. Raises UserError if it cannot be read or is not UTF-8."""
    if path.suffix != ".xz":
        return config.read_text(path).split("\n")
    try:
        with lzma.open(path) as file:
            return config.decoded(config.bounded(file, where=str(path)), where=str(path)).split("\n")
    except (lzma.LZMAError, EOFError) as error:
        raise UserError(f"{path} is not an xz file: {error}.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
