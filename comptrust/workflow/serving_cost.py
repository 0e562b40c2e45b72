"""Measure what it costs to serve a model, once for each evaluation folder."""

from collections.abc import Callable
from pathlib import Path

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.models.base import Backend
from comptrust.serving_cost import NAME, ServingCost, words


def measure(
    backend: Backend, folder: Path, *, say: Callable[[str], None] = lambda line: None
) -> ServingCost | None:
    """Return the cost as kept in an evaluation's folder, else measure it and keep it there."""
    path = folder / NAME
    try:
        return config.load_json(path, ServingCost)
    except UserError:  # there is none, or not one that can be read
        cost = backend.cost()
    if cost:
        digests.write_atomic(path, cost.model_dump_json(indent=2) + "\n")
        say(f"serving: {', '.join(words(cost))} ({cost.how}; {cost.where})")
    return cost
