"""Published results as MLflow runs, apart from a team's own: one finished run per row."""

import time
from collections.abc import Callable

from comptrust.published import Published, PublishedRow
from comptrust.tracking import registry, runs, store

SMALLER = "smaller_dense"
"""Tag of a dense source: the smaller dense model that the names file assigns to it."""


def import_table(
    table: Published, *, say: Callable[[str], None] = lambda line: None
) -> tuple[int, int]:
    """Log every row that is not logged yet and return (imported, already there).

    A run has the params of any other run, `trust/*`, `refusal/*` and `drop/*` against the dense
    source, and the tag `source=published`, in an experiment of its own. An edited row is a new one.
    """
    experiment = store.published_id(create=True)
    assert experiment is not None
    logged = store.search_runs(
        "tags.source = 'published' and attributes.status = 'FINISHED'",
        experiments=[experiment, store.experiment_id()],
    )
    digests = {run.data.tags.get("row_digest") for run in logged}
    new = [row for row in table.rows if digests.isdisjoint(row.digests)]
    for row in new:
        _log(row, table, experiment=experiment)
        say(f"imported {row.model}")
    return len(new), len(table.rows) - len(new)


def _metrics(row: PublishedRow, dense: PublishedRow) -> dict[str, float]:
    scores = {f"trust/{name}": value for name, value in row.scores.items()}
    refusals = {f"refusal/{name}": value for name, value in row.refusals.items()}
    drops = {f"drop/{name}": dense.scores[name] - value for name, value in row.scores.items()}
    drops["drop/worst"] = max(drops.values())
    return scores | refusals | (drops if row != dense else {})


def _name(row: PublishedRow) -> str:
    # The recipe comes first, because MLflow's charts cut off long names.
    slug = row.recipe.slug.removesuffix(f"-s{row.recipe.seed}" if row.seed is None else "")
    return f"{slug} {row.recipe.base_model} (published)"


def _params(row: PublishedRow) -> dict[str, str]:
    logged = {"method", "bits", "sparsity", "structure", "group_size"}
    fields = row.recipe.model_dump(include=logged) | {"model": row.recipe.base_model}
    fields |= {"seed": row.seed, "suite": "published"}
    return {key: str(value) for key, value in fields.items() if value is not None}


def _tags(row: PublishedRow, table: Published) -> dict[str, str]:
    tags = registry.recipe_tags(row.recipe) | {
        "source": "published",
        "published_name": row.model,
        "row_digest": row.digest_of_fields(),
        "table_digest": table.digest,
        "group": row.group,
    }
    if row.seed is None:
        del tags["seed"]
    smaller = table.smaller.get(row.recipe.base_model)
    if smaller is not None and row == table.dense(row):
        tags[SMALLER] = smaller
    return tags


@runs.service()
def _log(row: PublishedRow, table: Published, *, experiment: str) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    metrics = _metrics(row, table.dense(row))
    status = "FAILED"
    client = runs.client()
    run_id = client.create_run(experiment, run_name=_name(row)).info.run_id
    try:
        client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
            params=[Param(key, value) for key, value in _params(row).items()],
            tags=[RunTag(key, value) for key, value in _tags(row, table).items()],
        )
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status=status)
