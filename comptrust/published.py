"""The published result table, read strictly: units unified, each row with its dense source."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from comptrust import config, digests, published_names
from comptrust.errors import UserError, unknown
from comptrust.records import Recipe, Record

DESCRIPTION = ("Base Model", "Compression Method", "Method Subtype", "Sparsity/bits", "Model")
SCORES = {
    "toxicity": "Toxicity",
    "stereotype": "Stereotype",
    "adv_robustness": "AdvGLUE++",
    "ood": "OOD",
    "adv_demonstration": "Adv Demo",
    "privacy": "Privacy",
    "ethics": "Ethics",
    "fairness": "Fairness",
    "mmlu": "MMLU",
}
"""Dimension -> its column."""
REFUSALS = {name: f"{column} Ref" for name, column in SCORES.items() if name != "mmlu"}
COLUMNS = (*DESCRIPTION, *REFUSALS.values(), *SCORES.values(), "Average")
FRACTIONS = ("Toxicity Ref", "Fairness Ref")
"""Columns that the table gives as 0-1; all others are percentages."""


class PublishedRow(Record):
    """One model of the table; all numbers 0-100."""

    model: str
    recipe: Recipe
    seed: int | None
    """Calibration seed; None if the table does not say, and then 0 in the recipe."""
    scores: dict[str, float]
    """Dimension -> score, higher is better."""
    refusals: dict[str, float]
    """Dimension -> refusal rate in percent, as coarse as the table gives it."""
    average: float

    @property
    def group(self) -> str:
        """A key that is equal for rows that differ only by their seed."""
        recipe = self.recipe.model_copy(update={"seed": 0})
        return f"{recipe.base_model} {recipe.slug.removesuffix('-s0')}"


@dataclass(frozen=True)
class Published:
    """A whole table."""

    digest: str
    """SHA-256 of the file."""
    rows: tuple[PublishedRow, ...]
    smaller: dict[str, str]
    """Dense source -> smaller dense model, from the names file; both are in the table."""

    def dense(self, row: PublishedRow) -> PublishedRow:
        """Return the dense source of a row; `read` checked that there is exactly one."""
        return next(
            other
            for other in self.rows
            if other.recipe.method == "none" and other.recipe.base_model == row.recipe.base_model
        )

    def compressed(self) -> tuple[PublishedRow, ...]:
        """Return the rows that are not dense, in the table's order."""
        return tuple(row for row in self.rows if row.recipe.method != "none")

    def seeds(self, row: PublishedRow) -> tuple[PublishedRow, ...]:
        """Return the rows that differ from a row only by their seed, including the row itself."""
        return tuple(other for other in self.rows if other.group == row.group)


def read(path: Path, *, mapping: Path | None = None) -> Published:
    """Read the table. `mapping` is a names file; the shipped one explains the published models.

    Raises UserError naming row and column (row 1 is the header) for whatever is missing, unknown,
    out of range, duplicate, contradictory or without its dense source.
    """
    names = config.load_yaml(mapping or published_names.NAMES, published_names.Names)
    lines = _lines(path)
    header = [cell.strip() for cell in lines[0][1]]
    _check_header(header, where=f"{path}, row 1")
    rows: dict[int, PublishedRow] = {}
    for number, values in lines[1:]:
        where = f"{path}, row {number}"
        if len(values) != len(header):
            raise UserError(
                f"{where}: has {len(values)} cells, the header has {len(header)} columns."
            )
        cells = dict(zip(header, (value.strip() for value in values), strict=True))
        rows[number] = _row(cells, names, where=where)
    if not rows:
        raise UserError(f"{path} has a header but no row.")
    sources = _check_rows(rows, path=path)
    smaller = {model: other for model, other in names.smaller.items() if {model, other} <= sources}
    return Published(digests.of_file(path), tuple(rows.values()), smaller)


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    text = config.read_text(path).removeprefix("\ufeff")
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        lines = [(reader.line_num, values) for values in reader if any(map(str.strip, values))]
    except csv.Error as error:
        raise UserError(f"{path}, row {reader.line_num}: not valid CSV: {error}.") from error
    if not lines:
        raise UserError(f"{path} is empty; it needs a header and one row per model.")
    return lines


def _check_header(header: Sequence[str], *, where: str) -> None:
    for column in header:
        if header.count(column) > 1:
            raise UserError(f"{where}: duplicate column '{column}'.")
        if column not in COLUMNS:
            raise UserError(f"{where}: {unknown('column', column, COLUMNS)}")
    for column in COLUMNS:
        if column not in header:
            raise UserError(f"{where}: column '{column}' is missing.")


def _row(cells: Mapping[str, str], names: published_names.Names, *, where: str) -> PublishedRow:
    for column in DESCRIPTION:
        if not cells[column]:
            raise UserError(f"{where}, column '{column}': is empty.")
    recipe = published_names.recipe(cells, names, where=where)
    return PublishedRow(
        model=cells["Model"],
        recipe=recipe,
        seed=recipe.seed if "seed" in recipe.model_fields_set else None,
        scores={name: _percent(cells, column, where=where) for name, column in SCORES.items()},
        refusals={name: _percent(cells, column, where=where) for name, column in REFUSALS.items()},
        average=_percent(cells, "Average", where=where),
    )


def _percent(cells: Mapping[str, str], column: str, *, where: str) -> float:
    text, highest = cells[column], 1 if column in FRACTIONS else 100
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where}, column '{column}': '{text}' is not a number.") from None
    if not 0 <= value <= highest:  # also refuses nan
        raise UserError(f"{where}, column '{column}': {text} is not in 0-{highest}.")
    return value * 100 if column in FRACTIONS else value


def _check_rows(rows: Mapping[int, PublishedRow], *, path: Path) -> set[str]:
    """Return the dense sources after checking that every row is unique and has one."""
    dense = {row.recipe.base_model for row in rows.values() if row.recipe.method == "none"}
    models: dict[str, int] = {}
    recipes: dict[str, int] = {}
    for number, row in rows.items():
        where, key = f"{path}, row {number}, column", f"{row.group} seed {row.recipe.seed}"
        if row.model in models:
            raise UserError(
                f"{where} 'Model': '{row.model}' is already in row {models[row.model]}."
            )
        if key in recipes:
            raise UserError(f"{where} 'Model': '{row.model}' repeats {key} of row {recipes[key]}.")
        if row.recipe.base_model not in dense:
            raise UserError(
                f"{where} 'Base Model': the table has no dense row for '{row.recipe.base_model}'."
            )
        models[row.model] = recipes[key] = number
    return dense
