"""Model names of the published table: each one, checked against its row, becomes a recipe."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from comptrust.errors import UserError, unknown
from comptrust.records import Recipe, Record

NAMES = Path(__file__).with_name("published_names.yaml")
METHODS = {
    "none": ("none",),
    "quantization": ("AWQ", "GPTQ"),
    "pruning": ("mag", "sparsegpt", "wanda"),
}
"""Compression method in the table -> its subtypes there."""
OUR_NAMES = {"mag": "magnitude"}
"""Subtype in the table -> our name of the method, if it is not just the lower case."""
DENSE_BITS = 16


class NamePattern(Record):
    """What a model name of this form means."""

    pattern: re.Pattern[str]
    """Regular expression; the named groups are listed at the top of the names file."""
    means: str
    method: Literal["none", "quantization", "pruning"]


class Names(Record):
    """The file that explains model names."""

    patterns: tuple[NamePattern, ...]
    smaller: dict[str, str] = {}
    """Dense source -> smaller dense model to show beside it, both as in `Base Model`."""


def recipe(cells: Mapping[str, str], names: Names, *, where: str) -> Recipe:
    """Return the recipe of a row, from its name and columns; the seed only if the name states it.

    Raises UserError starting with `where` unless exactly one pattern explains the name.
    """
    model = cells["Model"]
    method, subtype = _method(cells, where=where)
    pattern, stated = _explain(model, names, where=where)
    if pattern.method != method:
        raise UserError(
            f"{where}, column 'Compression Method': is {method}, but the name '{model}' means"
            f" {pattern.means}."
        )
    fields: dict[str, object] = {
        "base_model": cells["Base Model"],
        "method": OUR_NAMES.get(subtype, subtype.lower()),
    }
    if "seed" in stated:
        fields["seed"] = stated["seed"]
    bits = _bits(cells, where=where)
    if method == "quantization":
        if int(stated.get("bits", bits)) != bits:
            raise UserError(
                f"{where}, column 'Sparsity/bits': is {bits}, but the name '{model}' says"
                f" {stated['bits']} bits."
            )
        fields |= {"bits": bits, "group_size": stated.get("group_size")}
    elif method == "pruning":
        fields |= _pruning(stated, bits, model=model, where=where)
    elif bits != DENSE_BITS:
        raise UserError(
            f"{where}, column 'Sparsity/bits': a dense model has {DENSE_BITS}, not {bits}."
        )
    return Recipe.model_validate(fields)


def _method(cells: Mapping[str, str], *, where: str) -> tuple[str, str]:
    method, subtype = cells["Compression Method"], cells["Method Subtype"]
    if method not in METHODS:
        raise UserError(
            f"{where}, column 'Compression Method': {unknown('method', method, METHODS)}"
        )
    if subtype not in METHODS[method]:
        raise UserError(
            f"{where}, column 'Method Subtype':"
            f" {unknown(f'kind of {method}', subtype, METHODS[method])}"
        )
    return method, subtype


def _explain(model: str, names: Names, *, where: str) -> tuple[NamePattern, dict[str, str]]:
    pairs = [(pattern, pattern.pattern.fullmatch(model)) for pattern in names.patterns]
    matches = [(pattern, match) for pattern, match in pairs if match]
    if len(matches) != 1:
        how = f"{len(matches)} patterns explain" if matches else "no pattern explains"
        raise UserError(
            f"{where}, column 'Model': {how} '{model}'. Give a mapping file in which exactly one"
            " does."
        )
    pattern, match = matches[0]
    return pattern, {key: value for key, value in match.groupdict().items() if value is not None}


def _pruning(stated: Mapping[str, str], bits: int, *, model: str, where: str) -> dict[str, object]:
    if "keep" not in stated or "of" not in stated:
        raise UserError(
            f"{where}, column 'Model': the mapping file finds no N:M pattern in '{model}' (groups"
            " keep and of)."
        )
    keep, of = int(stated["keep"]), int(stated["of"])
    sparsity = 1 - keep / of if of else -1.0
    contradicts = "sparsity" in stated and abs(float(stated["sparsity"]) - sparsity) > 1e-9
    if not 0 < sparsity < 1 or contradicts:
        raise UserError(
            f"{where}, column 'Model': {keep}:{of} contradicts the sparsity in '{model}'."
        )
    # The table gives the size of a pruned model as bits per original weight.
    if bits != round(DENSE_BITS * (1 - sparsity)):
        raise UserError(
            f"{where}, column 'Sparsity/bits': {bits} is not {DENSE_BITS} bits times"
            f" {1 - sparsity:g}."
        )
    return {"structure": f"{keep}:{of}", "sparsity": sparsity}


def _bits(cells: Mapping[str, str], *, where: str) -> int:
    text = cells["Sparsity/bits"]
    if not re.fullmatch(r"[1-9]\d?", text):
        raise UserError(f"{where}, column 'Sparsity/bits': '{text}' is not a number of bits.")
    return int(text)
