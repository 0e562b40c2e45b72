"""The published result table, read strictly: units made one, every compressed row with its dense
source, nothing guessed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comptrust import config, digests
from comptrust.errors import UserError, unknown
from comptrust.records import Recipe, Record

NAMES = Path(__file__).with_name("published_names.yaml")
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
REFUSALS = {name: f"{column} Ref" for name, column in SCORES.items() if name != "mmlu"}
FRACTIONS = ("Toxicity Ref", "Fairness Ref")
"""Columns that the table gives as 0-1, all others as percent."""
METHODS = {
    "none": ("none",),
    "quantization": ("AWQ", "GPTQ"),
    "pruning": ("mag", "sparsegpt", "wanda"),
}
CALLED = {"mag": "magnitude"}
"""Method as the table calls it -> as this project does, where that is not its lower case."""


class Pattern(Record):
    """What a model name of this form says."""

    pattern: str
    means: str
    method: Literal["none", "quantization", "pruning"]


class Mapping(Record):
    """The file that explains model names."""

    patterns: tuple[Pattern, ...]
    smaller: dict[str, str] = {}
    """Dense source -> smaller dense model of the same family to show beside its compressed
    versions, by `Base Model`.
    """


class Row(Record):
    """One model of the table; all numbers 0-100."""

    model: str
    recipe: Recipe
    seed: int | None
    """Calibration seed, None where the table does not say; the recipe then holds 0."""
    scores: dict[str, float]
    """Dimension -> score, higher is better."""
    refusals: dict[str, float]
    """Dimension -> refusal rate in percent; fractions of one digit in the table stay as coarse as
    they were.
    """
    average: float

    @property
    def digest(self) -> str:
        """SHA-256 of all that the row says."""
        return self.digest_of_fields()

    @property
    def group(self) -> str:
        """What rows that differ only by their seed share."""
        same = self.recipe.model_copy(update={"seed": 0})
        return f"{same.base_model} {same.slug.removesuffix('-s0')}"


@dataclass(frozen=True)
class Published:
    """A whole table."""

    path: Path
    digest: str
    """SHA-256 of the file."""
    rows: tuple[Row, ...]
    smaller: dict[str, str]
    """Dense source -> smaller dense model, as the names file says; both are in the table."""

    def dense(self, row: Row) -> Row:
        """Return the dense source of a row; reading made sure that there is exactly one."""
        return next(
            one
            for one in self.rows
            if one.recipe.method == "none" and one.recipe.base_model == row.recipe.base_model
        )

    def compressed(self) -> tuple[Row, ...]:
        """Return the rows that are not dense, in the table's order."""
        return tuple(row for row in self.rows if row.recipe.method != "none")

    def seeds(self, row: Row) -> tuple[Row, ...]:
        """Return the rows that differ from a row by their seed only, itself included."""
        return tuple(one for one in self.rows if one.group == row.group)


def read(path: Path, *, mapping: Path | None = None) -> Published:
    """Read the table. Names are explained by `mapping`, or by the patterns shipped for the
    published models.

    Raises UserError naming row and column for a missing or renamed column, a number that is none or
    out of range, a name that no or more than one pattern explains, a contradiction between name and
    columns, a duplicate, a compressed row without its dense source, and a table without rows. Row 1
    is the header.
    """
    names = config.load_yaml(mapping or NAMES, Mapping)
    explained = _patterns(names, path=mapping or NAMES)
    reader = csv.reader(io.StringIO(config.read_text(path).removeprefix("\ufeff")), strict=True)
    try:
        lines = [
            (reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise UserError(f"{path}, row {reader.line_num}: not valid CSV: {error}.") from error
    if not lines:
        raise UserError(f"{path} is empty; a header and one row per model are needed.")
    header = [cell.strip() for cell in lines[0][1]]
    _check_header(header, where=f"{path}, row 1")
    rows: dict[int, Row] = {}
    for number, cells in lines[1:]:
        where = f"{path}, row {number}"
        if len(cells) != len(header):
            raise UserError(
                f"{where}: has {len(cells)} cells, the header has {len(header)} columns."
            )
        rows[number] = _row(
            dict(zip(header, (cell.strip() for cell in cells), strict=True)), explained, where=where
        )
    if not rows:
        raise UserError(f"{path} has a header but no row.")
    _check_together(rows, path=path)
    dense = {row.recipe.base_model for row in rows.values() if row.recipe.method == "none"}
    smaller = {model: other for model, other in names.smaller.items() if {model, other} <= dense}
    return Published(
        path=path, digest=digests.of_file(path), rows=tuple(rows.values()), smaller=smaller
    )


def _patterns(names: Mapping, *, path: Path) -> Sequence[tuple[re.Pattern[str], Pattern]]:
    found = []
    for number, pattern in enumerate(names.patterns, start=1):
        try:
            found.append((re.compile(pattern.pattern), pattern))
        except re.error as error:
            raise UserError(
                f"{path}, pattern {number}: not a regular expression: {error}."
            ) from error
    return found


def _check_header(header: Sequence[str], *, where: str) -> None:
    needed = (*DESCRIPTION, *REFUSALS.values(), *SCORES.values(), "Average")
    for column in header:
        if header.count(column) > 1:
            raise UserError(f"{where}: column '{column}' stands there twice.")
        if column not in needed:
            raise UserError(f"{where}: {unknown('column', column, needed)}")
    for column in needed:
        if column not in header:
            raise UserError(f"{where}: column '{column}' is missing.")


def _row(
    cells: dict[str, str], explained: Sequence[tuple[re.Pattern[str], Pattern]], *, where: str
) -> Row:
    for column in DESCRIPTION:
        if not cells[column]:
            raise UserError(f"{where}, column '{column}': is empty.")
    recipe = _recipe(cells, explained, where=where)
    return Row(
        model=cells["Model"],
        recipe=recipe,
        seed=recipe.seed if "seed" in recipe.model_fields_set else None,
        scores={name: _number(cells, column, where=where) for name, column in SCORES.items()},
        refusals={name: _number(cells, column, where=where) for name, column in REFUSALS.items()},
        average=_number(cells, "Average", where=where),
    )


def _number(cells: dict[str, str], column: str, *, where: str) -> float:
    """Return a cell in percent."""
    highest = 1 if column in FRACTIONS else 100
    try:
        value = float(cells[column])
    except ValueError:
        raise UserError(f"{where}, column '{column}': '{cells[column]}' is not a number.") from None
    if not 0 <= value <= highest:
        raise UserError(f"{where}, column '{column}': {cells[column]} is out of 0-{highest}.")
    return value * 100 if column in FRACTIONS else value


def _recipe(
    cells: dict[str, str], explained: Sequence[tuple[re.Pattern[str], Pattern]], *, where: str
) -> Recipe:
    method, subtype, model = cells["Compression Method"], cells["Method Subtype"], cells["Model"]
    if method not in METHODS:
        raise UserError(
            f"{where}, column 'Compression Method': {unknown('method', method, METHODS)}"
        )
    if subtype not in METHODS[method]:
        raise UserError(
            f"{where}, column 'Method Subtype':"
            f" {unknown(f'kind of {method}', subtype, METHODS[method])}"
        )
    matches = [
        (match, pattern) for regex, pattern in explained if (match := regex.fullmatch(model))
    ]
    if len(matches) != 1:
        how = "no pattern explains" if not matches else f"{len(matches)} patterns explain"
        raise UserError(
            f"{where}, column 'Model': {how} '{model}'. Give a --mapping file in which exactly one"
            " does."
        )
    match, pattern = matches[0]
    if pattern.method != method:
        raise UserError(
            f"{where}, column 'Compression Method': is {method}, but the name '{model}' means"
            f" {pattern.means}."
        )
    said = {key: value for key, value in match.groupdict().items() if value is not None}
    fields: dict[str, object] = {"seed": int(said["seed"])} if "seed" in said else {}
    if method == "quantization":
        bits = _bits(cells, where=where)
        if "bits" in said and int(said["bits"]) != bits:
            raise UserError(
                f"{where}, column 'Sparsity/bits': is {bits}, but the name '{model}' says"
                f" {said['bits']} bits."
            )
        fields |= {
            "bits": bits,
            "group_size": int(said["group_size"]) if "group_size" in said else None,
        }
    if method == "pruning":
        if "keep" not in said or "of" not in said:
            raise UserError(
                f"{where}, column 'Model': the mapping gives no N:M pattern for '{model}' (groups"
                " keep and of)."
            )
        keep, of = int(said["keep"]), int(said["of"])
        sparsity = 1 - keep / of if of else -1.0
        if not 0 < sparsity < 1 or (
            "sparsity" in said and abs(float(said["sparsity"]) - sparsity) > 1e-9
        ):
            raise UserError(
                f"{where}, column 'Model': {keep}:{of} contradicts the sparsity in '{model}'."
            )
        if _bits(cells, where=where) != round(16 * (1 - sparsity)):
            raise UserError(
                f"{where}, column 'Sparsity/bits': {cells['Sparsity/bits']} is not 16 bits times"
                f" {1 - sparsity:g}."
            )
        fields |= {"structure": f"{keep}:{of}", "sparsity": sparsity}
    if method == "none" and _bits(cells, where=where) != 16:
        raise UserError(
            f"{where}, column 'Sparsity/bits': a dense model has 16, not {cells['Sparsity/bits']}."
        )
    return Recipe.model_validate(
        {
            "base_model": cells["Base Model"],
            "method": CALLED.get(subtype, subtype.lower()),
            **fields,
        }
    )


def _bits(cells: dict[str, str], *, where: str) -> int:
    if not re.fullmatch(r"[1-9]\d?", cells["Sparsity/bits"]):
        raise UserError(
            f"{where}, column 'Sparsity/bits': '{cells['Sparsity/bits']}' is not a number of bits."
        )
    return int(cells["Sparsity/bits"])


def _check_together(rows: dict[int, Row], *, path: Path) -> None:
    models: dict[str, int] = {}
    recipes: dict[str, int] = {}
    for number, row in rows.items():
        if row.model in models:
            raise UserError(
                f"{path}, row {number}, column 'Model': '{row.model}' stands already in row"
                f" {models[row.model]}."
            )
        models[row.model] = number
        key = f"{row.group} seed {row.recipe.seed}"
        if key in recipes:
            raise UserError(
                f"{path}, row {number}, column 'Model': '{row.model}' repeats {key} of row"
                f" {recipes[key]}."
            )
        recipes[key] = number
    dense = {row.recipe.base_model for row in rows.values() if row.recipe.method == "none"}
    for number, row in rows.items():
        if row.recipe.base_model not in dense:
            raise UserError(
                f"{path}, row {number}, column 'Base Model': no row holds the dense source of"
                f" '{row.recipe.base_model}'."
            )
