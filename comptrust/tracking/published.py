"""Published results as MLflow runs, beside own runs: one finished run per row, each row imported
once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from comptrust.published import Published, Row
from comptrust.tracking import registry, runs

SMALLER = "smaller_dense"
"""Tag of a dense source: the smaller dense model that the table's names file puts beside it."""


def import_table(
    table: Published, *, say: Callable[[str], None] = lambda line: None
) -> tuple[int, int]:
    """Log every row that is not logged yet and return (imported, already there).

    Params as of an own run; metrics `trust/*`, `refusal/*` and `drop/*` against the dense source;
    tag `source=published`. A row that was changed in the table is a new row; the run of the old one
    stays.
    """
    opened = runs.client()
    with runs.service():
        experiment = runs.experiment_id(opened)
        known: set[str] = set()
        token = None
        while True:
            query = "tags.source = 'published' and attributes.status = 'FINISHED'"
            page = opened.search_runs(
                [experiment], filter_string=query, max_results=1000, page_token=token
            )
            known |= {run.data.tags.get("row_digest", "") for run in page}
            token = page.token
            if not token:
                break
    new = [row for row in table.rows if row.digest not in known]
    for row in new:
        _log(row, table, experiment=experiment)
        say(f"imported {row.model}")
    return len(new), len(table.rows) - len(new)


def metrics(row: Row, dense: Row) -> dict[str, float]:
    """Return what is logged of a row, all 0-100; `drop/*` only where the row is not its own dense
    source.
    """
    values = {f"trust/{name}": value for name, value in row.scores.items()}
    values |= {f"refusal/{name}": value for name, value in row.refusals.items()}
    if row != dense:
        values |= {f"drop/{name}": dense.scores[name] - value for name, value in row.scores.items()}
    return values


def name(row: Row) -> str:
    """Return the run's name; the recipe comes first, as in own runs, since MLflow's charts cut
    names short.
    """
    slug = (
        row.recipe.slug
        if row.seed is not None
        else row.recipe.slug.removesuffix(f"-s{row.recipe.seed}")
    )
    return f"{slug} {row.recipe.base_model} (published)"


def params(row: Row) -> dict[str, str]:
    """Return the params of a row; what the table does not say is no param."""
    recipe = row.recipe
    fields = {
        "model": recipe.base_model,
        "method": recipe.method,
        "bits": recipe.bits,
        "sparsity": recipe.sparsity,
    }
    fields |= {
        "structure": recipe.structure,
        "group_size": recipe.group_size,
        "seed": row.seed,
        "suite": "published",
    }
    return {key: str(value) for key, value in fields.items() if value is not None}


def _log(row: Row, table: Published, *, experiment: str) -> None:
    from mlflow.entities import Metric, Param, RunTag

    opened = runs.client()
    tags = registry.recipe_tags(row.recipe) | {
        "source": "published",
        "published_name": row.model,
        "row_digest": row.digest,
    }
    tags |= {"table_digest": table.digest, "group": row.group}
    if row.seed is None:
        tags.pop("seed")
    if row == table.dense(row) and row.recipe.base_model in table.smaller:
        tags[SMALLER] = table.smaller[row.recipe.base_model]
    now = int(time.time() * 1000)
    status = "FAILED"
    with runs.service():
        run_id = opened.create_run(experiment, run_name=name(row)).info.run_id
        try:
            opened.log_batch(
                run_id,
                metrics=[
                    Metric(key, value, now, 0)
                    for key, value in metrics(row, table.dense(row)).items()
                ],
                params=[Param(key, value) for key, value in params(row).items()],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
            status = "FINISHED"
        finally:
            opened.set_terminated(run_id, status=status)
