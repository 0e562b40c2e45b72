"""Runs one Great Expectations suite on one data frame, keeps JSON and Data Docs, and turns a
failure into one clear line.
"""

from __future__ import annotations

import html
import json
import logging
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust import digests
from comptrust.errors import ServiceError, UserError

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.expectations import Expectation

MAX_ROWS = 5
"""Rows named in the error; the JSON names all."""


def check(
    name: str, frame: pd.DataFrame, expectations: Callable[[], Sequence[Expectation]], *, out: Path
) -> None:
    """Validate a frame whose column `row` names each row; write `<name>.json` and `docs/` below
    `out`.

    Raises UserError naming the expectation and the rows that fail it, ServiceError if `out` cannot
    be written.
    """
    gx = _library()
    frame = frame.map(
        lambda value: html.escape(value, quote=False) if isinstance(value, str) else value
    )  # Data Docs show values as markup
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = gx.data_context.types.base.ProgressBarsConfig(globally=False)
    backend = {
        "class_name": "TupleFilesystemStoreBackend",
        "base_directory": str((out / "docs" / name).resolve()),
    }
    builder = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": backend,
    }
    for site in list(context.get_site_names()):
        context.delete_data_docs_site(site)
    context.add_data_docs_site(site_name=name, site_config=builder)
    batch = (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset(name)
        .add_batch_definition_whole_dataframe("all")
    )
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=list(expectations())))
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
        report = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
    except OSError as error:
        raise ServiceError(
            f"Cannot write the validation results to {out}: {error.strerror or error}. Free space"
            " and run again."
        ) from error
    result = next(iter(report.run_results.values()))
    digests.write_atomic(out / f"{name}.json", json.dumps(result.to_json_dict(), indent=1) + "\n")
    if not result.success:
        raise UserError(f"{name}: {_failure(result)} All of it is in {out / f'{name}.json'}.")


@cache
def _library() -> Any:
    """Import Great Expectations (4 s) without analytics or progress bars.

    It compiles the templates of its pages anew for every page, which takes half of a small check;
    here each is compiled once.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    os.environ.setdefault("TQDM_DISABLE", "1")
    import great_expectations
    from great_expectations.render.view import view
    from jinja2 import BytecodeCache, Environment
    from jinja2.bccache import Bucket

    compiled: dict[str, Any] = {}

    class Kept(BytecodeCache):
        def load_bytecode(self, bucket: Bucket) -> None:
            bucket.code = compiled.get(f"{bucket.key}{bucket.checksum}")

        def dump_bytecode(self, bucket: Bucket) -> None:
            compiled[f"{bucket.key}{bucket.checksum}"] = bucket.code

    view.Environment = partial(Environment, bytecode_cache=Kept())  # type: ignore[misc, assignment]
    for name in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return great_expectations


def _failure(result: ExpectationSuiteValidationResult) -> str:
    """Say which expectation fails first, why it matters and for which rows."""
    failed = [item for item in result.results if not item.success]
    first = failed[0]
    settings = first.expectation_config
    meaning = settings and ((settings.meta or {}).get("meaning") or settings.type)
    if first.exception_info and first.exception_info.get("raised_exception"):
        return (
            f"expectation '{meaning}' could not be checked:"
            f" {first.exception_info.get('exception_message')}."
        )
    details = first.result or {}
    indices = details.get("unexpected_index_list") or []
    rows = [html.unescape(str(item.get("row"))) for item in indices]
    values = details.get("unexpected_list") or []
    if not rows:
        return f"expected: {meaning}; found {details.get('observed_value')}."
    shown = [
        row if isinstance(value, tuple) else f"{row} ({html.unescape(repr(value)):.60})"
        for row, value in zip(rows, values or rows, strict=False)
    ]
    named = ", ".join(shown[:MAX_ROWS]) + (
        f" and {len(rows) - MAX_ROWS} more" if len(rows) > MAX_ROWS else ""
    )
    others = f" Expectations that fail besides: {len(failed) - 1}." if len(failed) > 1 else ""
    return f"expected: {meaning}; not so in {len(rows)} rows: {named}.{others}"
