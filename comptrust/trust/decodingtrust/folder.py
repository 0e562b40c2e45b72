"""Strict reading of a data folder; its revision is the digest of the files that were read."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel

from comptrust import config, digests
from comptrust.errors import UserError


class DataRow(BaseModel, frozen=True, extra="ignore"):
    """One entry of a data file; other fields are ignored."""


class Item(DataRow):
    """A classification question with its demonstrations (fairness, adversarial demonstrations)."""

    input: str
    label: str
    option: list[str]
    examples: list[tuple[str, str]] = []


R = TypeVar("R", bound=BaseModel)


class Folder:
    """A folder in DecodingTrust's `data/` layout; file names are relative POSIX paths."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError(
                f"No data folder at {root}. Give the folder with toxicity/, stereotype/, ..."
                " (DecodingTrust's data/)."
            )
        self.root = root
        self.used: dict[str, str] = {}
        """Name of each file that was read -> its SHA-256."""
        self._parsed: dict[str, object] = {}

    def has(self, *names: str) -> bool:
        """Return whether all of these files exist."""
        return all((self.root / name).is_file() for name in names)

    def revision(self) -> str:
        """Return the SHA-256 over the names and contents of the files read so far."""
        return digests.of_value(dict(sorted(self.used.items())))

    def text(self, name: str) -> str:
        """Read one UTF-8 file. Raises UserError naming it."""
        self._use(name)
        return config.read_text(self.root / name)

    def jsonl(self, name: str, row: type[R]) -> list[R]:
        """Read one entry per line. Raises UserError naming file, line and field."""
        lines = {
            f"{self.root / name}, line {number}": line
            for number, line in enumerate(self.text(name).split("\n"), start=1)
            if line.strip()
        }
        return [
            config.parse(config.json_value(line, where=where), row, where=where)
            for where, line in lines.items()
        ]

    def csv(self, name: str, row: type[R], *, header: Sequence[str] | None = None) -> list[R]:
        """Read a CSV file, by default with a header line. Raises UserError naming the line."""
        reader = csv.DictReader(
            io.StringIO(self.text(name), newline=""), fieldnames=header, strict=True
        )
        try:
            return [
                config.parse(data, row, where=f"{self.root / name}, line {reader.line_num}")
                for data in reader
            ]
        except csv.Error as error:
            raise UserError(
                f"{self.root / name}, line {reader.line_num}: not valid CSV: {error}."
            ) from error

    def json(self, name: str) -> object:
        """Read one JSON document. Raises UserError naming file and line."""
        if name not in self._parsed:
            self._parsed[name] = config.json_value(self.text(name), where=str(self.root / name))
        return self._parsed[name]

    def record(self, name: str, row: type[R]) -> R:
        """Read one JSON document as a record. Raises UserError naming file and field."""
        return config.parse(self.json(name), row, where=str(self.root / name))

    def entries(self, name: str, *path: str, row: type[R]) -> list[R]:
        """Read the list at a path of keys in JSON. Raises UserError naming entry and field."""
        where = f"{self.root / name}, {'.'.join(path)}"
        value = self.json(name)
        for part in path:
            if not isinstance(value, dict) or part not in value:
                raise UserError(f"{where}: no entry '{part}'.")
            value = value[part]
        if not isinstance(value, list):
            raise UserError(f"{where}: must be a list (got {type(value).__name__}).")
        return [
            config.parse(entry, row, where=f"{where}, entry {index}")
            for index, entry in enumerate(value)
        ]

    def array(self, name: str, *, length: int) -> np.ndarray:
        """Read a .npy array of shape (length,). Raises UserError naming the file."""
        self._use(name)
        try:
            values: np.ndarray = np.load(self.root / name, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.root / name} is not a plain .npy array: {error}.") from error
        if values.shape != (length,):
            raise UserError(
                f"{self.root / name} has shape {values.shape}, but its question file has {length}"
                " lines."
            )
        return values

    def _use(self, name: str) -> None:
        if name not in self.used:
            try:
                self.used[name] = digests.of_file(self.root / name)
            except OSError as error:
                raise UserError(f"Cannot read {self.root / name}: {error.strerror}.") from error
