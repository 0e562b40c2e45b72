"""What it costs to serve the model of a run and its dense source, as the run keeps it."""

from comptrust import config
from comptrust.errors import UserError
from comptrust.serving_cost import NAME, ServingCost, ServingCosts
from comptrust.tracking import runs


def log(run: runs.Run, cost: ServingCost | None) -> None:
    """Log what was measured of a run's own model."""
    if cost:
        run.text(NAME, ServingCosts(model=cost).model_dump_json(indent=2))
        run.metrics(cost.metrics())


def add_dense(run: runs.Run, dense: str) -> None:
    """Add to a run what `dense` (`runs:/ID`) keeps of its own model, if both were measured."""
    own, reference = of_run(run.id), of_run(dense.removeprefix("runs:/"))
    if own and reference:
        costs = ServingCosts(model=own.model, dense=reference.model)
        run.text(NAME, costs.model_dump_json(indent=2))


def of_run(run_id: str) -> ServingCosts | None:
    """Return what a run keeps; None if nothing was measured, or if it cannot be read."""
    try:
        content = runs.read_json(run_id, NAME)
        return None if content is None else config.parse(content, ServingCosts, where=NAME)
    except UserError:
        return None
