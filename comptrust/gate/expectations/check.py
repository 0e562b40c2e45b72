"""Run one Great Expectations suite, read from the YAML file that a team edits, on one frame.

The results are kept as JSON and as one small HTML page.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust import config, digests
from comptrust.errors import ServiceError, UserError, unknown
from comptrust.gate.expectations import page
from comptrust.records import Record
from comptrust.trust.dimensions import dimensions

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.data_context import EphemeralDataContext
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


MAX_ROWS = 5
"""Rows named in the error; the JSON names all."""
PARAMETERS = {"dimensions": list(dimensions())}
"""What a suite may name as `{$PARAMETER: ...}`, because only the code knows it."""


class ExpectationEntry(Record):
    """What every expectation says; the other fields are settings of its type."""

    type: str
    """Great Expectations' own name, such as `expect_column_values_to_be_unique`."""
    meaning: str
    """What the message says was expected."""


class SuiteFile(Record):
    """One file as written."""

    name: str
    description: str = ""
    expectations: tuple[dict[str, Any], ...]


def check(name: str, columns: dict[str, Any], *, out: Path) -> None:
    """Check columns, of which `row` names each row; write `<name>.json` and `<name>.html` to `out`.

    All suites are read, so a mistake in any file is reported before a model is asked anything.

    Raises UserError naming the expectation and the rows that fail it, or the mistake in the suite's
    file; ServiceError if `out` cannot be written.
    """
    import great_expectations as gx
    import pandas as pd

    path = FOLDER / f"{name}.yaml"
    expectations = {each: _expectations(FOLDER / f"{each}.yaml") for each in NAMES}[name]
    for number, expectation in enumerate(expectations, start=1):
        settings = expectation.configuration.kwargs
        for key in ("column", "column_A", "column_B"):
            if key in settings and settings[key] not in columns:
                raise UserError(
                    f"{path}, expectation {number} (field '{key}'):"
                    f" {unknown('column', settings[key], columns)}"
                )
    batch = (
        _context()
        .data_sources.add_pandas("frames")
        .add_dataframe_asset(name)
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": pd.DataFrame(columns)})
    )
    result_format: Any = {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": ["row"],
        "include_unexpected_rows": False,
    }
    try:
        result = batch.validate(
            gx.ExpectationSuite(name=name, expectations=expectations),
            result_format=result_format,
            expectation_parameters=PARAMETERS,
        )
    except gx.exceptions.SuiteParameterError as error:
        raise UserError(f"{path}: {error}. Known parameters: {', '.join(PARAMETERS)}.") from error
    results = out / f"{name}.json"
    fields = result.to_json_dict()  # type: ignore[no-untyped-call]
    try:
        digests.write_atomic(results, json.dumps(fields, indent=1) + "\n")
        digests.write_atomic(out / f"{name}.html", page.render(result, name=name))
    except OSError as error:
        raise ServiceError(
            f"Cannot write the validation results to {out}: {error.strerror or error}. Free space"
            " and run the command again."
        ) from error
    if not result.success:
        raise UserError(f"{name}: {_failure(result, path=path)} All results are in {results}.")


def _expectations(path: Path) -> list[Expectation]:
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
    entry = config.parse(own, ExpectationEntry, where=where)
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
    for key in [key for key in settings if key not in allowed]:
        raise UserError(f"{where} ({entry.type}): {unknown('setting', key, allowed)}")
    try:
        return expectation(**settings, meta={"meaning": entry.meaning})
    except ValueError as error:
        first = error.errors()[0] if hasattr(error, "errors") else {"loc": (), "msg": str(error)}
        field = ".".join(str(part) for part in first["loc"] if part != "__root__")
        named = f"field '{field}': " if field else ""
        raise UserError(f"{where} ({entry.type}): {named}{first['msg']}.") from error


def _context() -> EphemeralDataContext:
    import great_expectations as gx
    from great_expectations.data_context.types import base

    config = base.DataContextConfig(
        store_backend_defaults=base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=base.ProgressBarsConfig(globally=False),
    )
    return gx.get_context(project_config=config, mode="ephemeral")


def _failure(result: ExpectationSuiteValidationResult, *, path: Path) -> str:
    first, *others = [item for item in result.results if not item.success]
    meaning = first.expectation_config and (first.expectation_config.meta or {}).get("meaning")
    # Great Expectations keeps an exception either flat or once per metric.
    info: dict[str, Any] = first.exception_info or {}
    for entry in (info, *info.values()):
        if isinstance(entry, dict) and entry.get("raised_exception"):
            problem = " ".join(str(entry.get("exception_message")).split()).rstrip(".")
            return f"expectation '{meaning}' of {path} could not be checked: {problem}."
    details = {"unexpected_index_list": None, "unexpected_list": None} | (first.result or {})
    indices, values = details["unexpected_index_list"] or [], details["unexpected_list"] or []
    rows = [str(item.get("row")) for item in indices]
    if not rows:
        return f"expected: {meaning}; found {details.get('observed_value')}."
    named = [
        row if isinstance(value, tuple) else f"{row} ({repr(value):.60})"
        for row, value in zip(rows[:MAX_ROWS], values or rows, strict=False)
    ]
    more = f" and {len(rows) - MAX_ROWS} more" if len(rows) > MAX_ROWS else ""
    count = f"{len(rows)} row" if len(rows) == 1 else f"{len(rows)} rows"
    also = f" Other expectations that failed: {len(others)}." if others else ""
    return f"expected: {meaning}; not true of {count}: {', '.join(named)}{more}.{also}"
