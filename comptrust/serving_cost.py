"""What it costs to serve a model: a side product on which no digest, score or verdict depends."""

import operator
from collections.abc import Sequence

from pydantic import Field

from comptrust.records import Record

NAME = "serving_cost.json"
FIGURES = ("tokens_per_second", "first_token_seconds", "peak_bytes")
NOT_MEASURED = "not measured"


class ServingCost(Record):
    """Medians over a few answers, one at a time; what was not measured is None, never 0."""

    tokens_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """New tokens a second, after the first."""
    first_token_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """From the request to the first token."""
    peak_bytes: int | None = Field(default=None, gt=0)
    """Most memory in use meanwhile: on the accelerators, else of the whole process."""
    how: str = Field(max_length=300)
    """Lengths of prompt and answer."""
    where: str = Field(max_length=300)
    """Engine, dtype and machine."""

    def metrics(self) -> dict[str, float]:
        """Return the figures that were measured as `serve/*`."""
        values = {f"serve/{name}": getattr(self, name) for name in FIGURES}
        return {key: float(value) for key, value in values.items() if value is not None}


class ServingCosts(Record):
    """What a run keeps: the cost of its model, and that of the dense source."""

    model: ServingCost
    dense: ServingCost | None = Field(default=None, exclude_if=operator.not_)

    def share(self, figure: str) -> float | None:
        """Return a figure as a share of the dense source's; None unless measured alike."""
        model, dense = self.model, self.dense
        if dense is None or (model.where, model.how) != (dense.where, dense.how):
            return None
        own, other = getattr(model, figure), getattr(dense, figure)
        return None if own is None or other is None else float(own / other)


def of_both(costs: ServingCosts | None) -> tuple[ServingCost | None, ServingCost | None]:
    """Return the costs of the model and of its dense source, as far as they were measured."""
    return (costs.model, costs.dense) if costs else (None, None)


def words(cost: ServingCost | None) -> Sequence[str]:
    """Return tokens per second, time to the first token and peak memory as a person reads them."""
    if cost is None:
        return (NOT_MEASURED,) * len(FIGURES)
    speed, first, peak = cost.tokens_per_second, cost.first_token_seconds, cost.peak_bytes
    return (
        NOT_MEASURED if speed is None else f"{speed:.3g} tokens/s",
        NOT_MEASURED if first is None else f"{first:.3g} s",
        NOT_MEASURED if peak is None else f"{peak / 1e9:.2f} GB",
    )
