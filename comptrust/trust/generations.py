"""Generations files: one record per line, plain or xz; strict to read, atomic to write."""

import json
import lzma
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.records import Generation, Score, Scoring, SuiteManifest
from comptrust.trust.fields import FieldError
from comptrust.trust.scoring import score


def read_generations(path: Path) -> Iterator[Generation]:
    """Yield the generations of a .jsonl or .jsonl.xz file without loading the whole file.

    Raises UserError naming file, line and field for whatever is broken, or if there are none.
    """
    seen: dict[str, int] = {}
    shared: dict[frozenset[str], set[str]] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        generation = config.parse(config.json_value(line, where=where), Generation, where=where)
        _share(generation, shared)
        if not generation.texts:
            raise UserError(
                f"{where}: field 'texts' is empty; an answer needs at least one text, even if it"
                " is blank."
            )
        if generation.id in seen:
            raise UserError(
                f"{where}: field 'id': '{generation.id}' is already used on line"
                f" {seen[generation.id]}."
            )
        seen[generation.id] = number
        yield generation
    if not seen:
        raise UserError(f"{path} has no generations.")


def _share(generation: Generation, sets: dict[frozenset[str], set[str]]) -> None:
    """Let generations share what is the same in most of them: nearly half of their memory."""
    given, values = generation.model_fields_set, generation.__dict__
    object.__setattr__(
        generation, "__pydantic_fields_set__", sets.setdefault(frozenset(given), given)
    )
    values |= {name: sys.intern(values[name]) for name in ("dimension", "scenario")}
    values["extra"] = {sys.intern(name): value for name, value in generation.extra.items()}


def write_generations(path: Path, generations: Iterable[Generation]) -> str:
    """Write a .jsonl file, completely or not at all, and return its SHA-256."""
    lines = (json.dumps(generation.model_dump(mode="json")) + "\n" for generation in generations)
    digests.write_atomic(path, "".join(lines))
    return digests.of_file(path)


def _lines(path: Path) -> Iterator[str]:
    try:
        with lzma.open(path) if path.suffix == ".xz" else open(path, "rb") as file:
            yield from config.decoded_lines(file, where=str(path))
    except (lzma.LZMAError, EOFError) as error:
        raise UserError(f"{path} is not an xz file: {error}.") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise UserError(
            f"Cannot read {path}: {getattr(error, 'strerror', None) or error}."
        ) from error


def score_file(
    path: Path, *, scoring: Scoring | None = None, allow_partial: bool = False
) -> tuple[Score, ...]:
    """Score every dimension that a file has answers to; no model is loaded.

    A suite.json beside the file, or above its generations/ folder, says what was asked; without one
    the published scenarios are required. Raises UserError naming the line of a broken answer.
    """
    suite = suite_beside(path)
    scoring = scoring or (suite.scoring if suite else "compressed-trust")
    try:
        return score(
            read_generations(path), suite=suite, scoring=scoring, allow_partial=allow_partial
        )
    except FieldError as error:
        numbered = ((number, line) for number, line in enumerate(_lines(path), 1) if line.strip())
        number = next(n for n, line in numbered if json.loads(line)["id"] == error.prompt_id)
        raise UserError(f"{path}, line {number}: field '{error.field}': {error.problem}") from error


def suite_beside(path: Path) -> SuiteManifest | None:
    """Return the suite.json beside a file or above its generations/ folder, None without one."""
    folder = path.parent
    if folder.resolve().name == "generations" and not (folder / "suite.json").is_file():
        folder = folder.parent
    manifest = folder / "suite.json"
    return config.load_json(manifest, SuiteManifest) if manifest.is_file() else None
