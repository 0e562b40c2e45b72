"""Dimensions of other harnesses: one task and one of its metrics, the mean over its documents."""

import re

import numpy as np

from comptrust.errors import UserError
from comptrust.records import Generation, Scoring
from comptrust.trust import fields
from comptrust.trust.base import Aggregate, Dimension, Outcome, Table, mean

SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
NAME = re.compile(rf"{SEGMENT}(/{SEGMENT}){{2,}}")


def is_name(name: str) -> bool:
    """Return whether a name is HARNESS/TASK/METRIC; it becomes part of paths and metrics."""
    return len(name) <= 200 and NAME.fullmatch(name) is not None


def name_of(harness: str, task: str, metric: str) -> str:
    """Return the dimension of a task and metric; what a path cannot hold becomes `_`."""
    parts = (re.sub(r"[^A-Za-z0-9_.+-]", "_", part) for part in (*task.split("/"), metric))
    return "/".join([harness, *(part if part[:1].isalnum() else f"_{part}" for part in parts)])


class Imported(Dimension):
    """The mean of the scores that a harness gave to the documents of one task."""

    name = "imported"
    required = ()
    pooled = True

    def __init__(self, name: str, *, scoring: Scoring = "compressed-trust") -> None:
        super().__init__(scoring=scoring)
        if not is_name(name):
            raise UserError(f"'{name}' is not the name of an imported dimension.")
        self.name = name  # type: ignore[misc]

    def judge(self, generation: Generation) -> Outcome:
        score = generation.extra.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise fields.wrong(generation, "extra.score", "a number from 0 to 1", score)
        return Outcome(
            prompt_id=generation.id,
            scenario=generation.scenario,
            cluster=str(generation.extra.get("cluster", generation.id)),
            # A harness parses answers in its own way, so a flip is a changed score.
            answer=f"{score:g}",
            refusal=0.0,
            values={"correct": float(score)},
        )

    def aggregate(self, table: Table, weights: np.ndarray | None = None) -> Aggregate:
        everything = np.arange(len(table.ids))
        return {"score": 100 * mean(table.values["correct"], everything, weights)}
