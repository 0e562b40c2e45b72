"""The Great Expectations suites, read from the YAML files that a team edits."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust import config
from comptrust.errors import UserError, unknown
from comptrust.records import Record

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

FOLDER = config.SHIPPED / "expectations"
NAMES = ("prompts", "generations", "scorecards")
RUN_SETTINGS = {
    "batch_id",
    "catch_exceptions",
    "id",
    "meta",
    "notes",
    "rendered_content",
    "result_format",
}
"""Settings of an expectation that belong to the run, so a file cannot change them."""


class ExpectationEntry(Record):
    """One expectation as written; `settings` are those of its type."""

    type: str
    """Great Expectations' own name, such as `expect_column_values_to_be_unique`."""
    meaning: str
    """What the message says was expected."""
    settings: dict[str, Any]


class SuiteFile(Record):
    """One file as written."""

    name: str
    """The same as the file's."""
    description: str = ""
    expectations: tuple[dict[str, Any], ...]


def load(name: str) -> list[Expectation]:
    """Return one suite.

    Every file is read, so a mistake in any of them is reported before a model is asked anything.
    Raises UserError naming the file and the entry.
    """
    return {each: _load(FOLDER / f"{each}.yaml") for each in NAMES}[name]


def _load(path: Path) -> list[Expectation]:
    file = config.load_yaml(path, SuiteFile)
    if file.name != path.stem:
        raise UserError(
            f"{path}: field 'name' is '{file.name}'. Write '{path.stem}', as in its path."
        )
    if not file.expectations:
        raise UserError(f"{path}: field 'expectations' is empty. Name at least one expectation.")
    return [
        _expectation(fields, where=f"{path}, expectation {number}")
        for number, fields in enumerate(file.expectations, start=1)
    ]


def _expectation(fields: dict[str, Any], *, where: str) -> Expectation:
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    own = {key: value for key, value in fields.items() if key in ("type", "meaning")}
    settings = {key: value for key, value in fields.items() if key not in own}
    entry = config.parse(own | {"settings": settings}, ExpectationEntry, where=where)
    types = list_registered_expectation_implementations()
    if entry.type not in types:
        near = difflib.get_close_matches(entry.type, types, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UserError(
            f"{where}: unknown expectation type '{entry.type}'.{hint}"
            " Great Expectations lists all types at greatexpectations.io/expectations."
        )
    expectation = get_expectation_impl(entry.type)
    allowed = expectation.__fields__.keys() - RUN_SETTINGS
    for key in settings:
        if key not in allowed:
            raise UserError(f"{where} ({entry.type}): {unknown('setting', key, allowed)}")
    try:
        return expectation(**settings, meta={"meaning": entry.meaning})
    except ValueError as error:
        first = error.errors()[0] if hasattr(error, "errors") else {"loc": (), "msg": str(error)}
        field = ".".join(str(part) for part in first["loc"] if part != "__root__")
        named = f"field '{field}': " if field else ""
        raise UserError(f"{where} ({entry.type}): {named}{first['msg']}.") from error
