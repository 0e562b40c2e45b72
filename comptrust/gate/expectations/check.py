"""Run one Great Expectations suite on one data frame; keep the results as JSON and as Data Docs."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust import digests
from comptrust.errors import ServiceError, UserError, unknown
from comptrust.gate.expectations import suites
from comptrust.trust.dimensions import dimensions

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.expectations import Expectation

MAX_ROWS = 5
"""Rows named in the error; the JSON names all."""
PARAMETERS = {"dimensions": list(dimensions())}
"""What a suite may name as `{$PARAMETER: ...}`, because only the code knows it."""


def check(name: str, frame: pd.DataFrame, *, out: Path) -> None:
    """Validate a frame whose column `row` names each row; write `<name>.json` and `docs/` to `out`.

    Raises UserError naming the expectation and the rows that fail it, or the mistake in the suite's
    file; ServiceError if `out` cannot be written.
    """
    import great_expectations as gx

    expectations = suites.load(name)
    path = suites.FOLDER / f"{name}.yaml"
    _check_columns(expectations, frame, path=path)
    # Data Docs put values into the page as markup.
    frame = frame.map(lambda value: html.escape(value, quote=False) if _is_text(value) else value)
    context = _context(name, out=out)
    batch = (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset(name)
        .add_batch_definition_whole_dataframe("all")
    )
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=name, data=batch, suite=suite)
    )
    checkpoint = gx.Checkpoint(
        name=name,
        validation_definitions=[definition],
        actions=[gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=[name])],
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": ["row"],
            "include_unexpected_rows": False,
        },
    )
    try:
        report = context.checkpoints.add(checkpoint).run(
            batch_parameters={"dataframe": frame}, expectation_parameters=PARAMETERS
        )
    except gx.exceptions.SuiteParameterError as error:
        raise UserError(f"{path}: {error}. Known parameters: {', '.join(PARAMETERS)}.") from error
    except OSError as error:
        raise ServiceError(
            f"Cannot write the validation results to {out}: {error.strerror or error}. Free space"
            " and run the command again."
        ) from error
    result = next(iter(report.run_results.values()))
    results = out / f"{name}.json"
    fields = result.to_json_dict()  # type: ignore[no-untyped-call]
    digests.write_atomic(results, json.dumps(fields, indent=1) + "\n")
    if not result.success:
        raise UserError(f"{name}: {_failure(result, path=path)} All results are in {results}.")


def _context(name: str, *, out: Path) -> EphemeralDataContext:
    """Return a context in memory, with one site of Data Docs and without progress bars."""
    import great_expectations as gx
    from great_expectations.data_context.types import base

    site = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str((out / "docs" / name).resolve()),
        },
    }
    config = base.DataContextConfig(
        store_backend_defaults=base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={name: site},
        progress_bars=base.ProgressBarsConfig(globally=False),
    )
    return gx.get_context(project_config=config, mode="ephemeral")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _check_columns(expectations: list[Expectation], frame: pd.DataFrame, *, path: Path) -> None:
    """Raise UserError for an expectation about a column that the frame does not have."""
    for number, expectation in enumerate(expectations, start=1):
        settings = expectation.configuration.kwargs
        for key in ("column", "column_A", "column_B"):
            if key in settings and settings[key] not in frame.columns:
                problem = unknown("column", settings[key], frame.columns)
                raise UserError(f"{path}, expectation {number} (field '{key}'): {problem}")


def _failure(result: ExpectationSuiteValidationResult, *, path: Path) -> str:
    """Say which expectation fails first, why it matters and for which rows."""
    failed = [item for item in result.results if not item.success]
    first = failed[0]
    settings = first.expectation_config
    meaning = settings and (settings.meta or {}).get("meaning")
    if problem := _exception(first):
        return f"expectation '{meaning}' of {path} could not be checked: {problem}."
    details = first.result or {}
    indices = details.get("unexpected_index_list") or []
    rows = [html.unescape(str(item.get("row"))) for item in indices]
    values = details.get("unexpected_list") or []
    if not rows:
        return f"expected: {meaning}; found {details.get('observed_value')}."
    named = [
        row if isinstance(value, tuple) else f"{row} ({html.unescape(repr(value)):.60})"
        for row, value in zip(rows[:MAX_ROWS], values or rows, strict=False)
    ]
    more = f" and {len(rows) - MAX_ROWS} more" if len(rows) > MAX_ROWS else ""
    count = f"{len(rows)} row" if len(rows) == 1 else f"{len(rows)} rows"
    others = f" Other expectations that failed: {len(failed) - 1}." if len(failed) > 1 else ""
    return f"expected: {meaning}; not true of {count}: {', '.join(named)}{more}.{others}"


def _exception(item: ExpectationValidationResult) -> str | None:
    """Return the message of the exception that kept an expectation from being checked.

    Great Expectations keeps it either flat or once per metric.
    """
    info: dict[str, Any] = item.exception_info or {}
    for entry in (info, *info.values()):
        if isinstance(entry, dict) and entry.get("raised_exception"):
            return " ".join(str(entry.get("exception_message")).split()).rstrip(".")
    return None
