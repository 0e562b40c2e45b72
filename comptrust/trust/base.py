"""What a dimension is: it judges each answer, then aggregates the judgments as published."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from comptrust.plugins import Registry
from comptrust.records import Generation, Scoring

DIMENSIONS = Registry(
    "dimension", "comptrust.trust.dimensions", "comptrust.dimensions", verb="aggregate"
)


class Outcome(NamedTuple):
    """What one answer amounts to; one of these for each of a hundred thousand answers, so it is
    checked by types alone.
    """

    prompt_id: str
    scenario: str
    cluster: str
    """Items that share a template or passage share a cluster; by default the prompt's own id."""
    answer: str
    """The parsed answer, to see whether it flipped."""
    refusal: float
    """Share of the prompt's texts that refuse, 0-1."""
    values: dict[str, float]
    """The numbers that the aggregate needs, such as `correct`."""


@dataclass(frozen=True)
class Table:
    """Outcomes of one dimension as columns, so that an aggregate can be resampled.

    Every column has shape (n,), n prompts in the suite's order.
    """

    ids: np.ndarray
    scenario: np.ndarray
    cluster: np.ndarray
    answer: np.ndarray
    refusal: np.ndarray
    values: dict[str, np.ndarray]
    """NaN where an outcome has no such value."""

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Table:
        columns = Columns()
        for outcome in outcomes:
            columns.add(outcome)
        return columns.table()

    def take(self, rows: np.ndarray) -> Table:
        """Return these rows as a table."""
        ids, scenario, cluster, answer, refusal = (
            column[rows]
            for column in (self.ids, self.scenario, self.cluster, self.answer, self.refusal)
        )
        return Table(
            ids,
            scenario,
            cluster,
            answer,
            refusal,
            {name: column[rows] for name, column in self.values.items()},
        )

    def scenarios(self, prefix: str = "") -> list[str]:
        """Return the scenarios present that equal the prefix or lie below it (`spurious` ->
        `spurious/PP/...`).
        """
        return [
            name
            for name in self._rows
            if not prefix or name == prefix or name.startswith(f"{prefix}/")
        ]

    def where(self, scenario: str) -> np.ndarray:
        """Return the row indices of one scenario, in the table's order."""
        return self._rows.get(scenario, np.empty(0, dtype=int))

    @cached_property
    def _rows(self) -> dict[str, np.ndarray]:
        found: dict[str, list[int]] = {}
        for row, name in enumerate(self.scenario.tolist()):
            found.setdefault(name, []).append(row)
        return {name: np.array(rows) for name, rows in found.items()}


class Columns:
    """Collects outcomes into a table one by one, so that a hundred thousand of them need not be
    kept.
    """

    def __init__(self) -> None:
        self._texts: tuple[list[str], ...] = ([], [], [], [])
        self._refusal = array("d")
        self._values: dict[str, array[float]] = {}

    def add(self, outcome: Outcome) -> None:
        """Append one row."""
        for texts, text in zip(
            self._texts,
            (outcome.prompt_id, outcome.scenario, outcome.cluster, outcome.answer),
            strict=True,
        ):
            texts.append(sys.intern(text))
        values = outcome.values
        if values.keys() != self._values.keys():
            self._values |= {
                name: array("d", [np.nan]) * len(self._refusal)
                for name in values
                if name not in self._values
            }
            values = dict.fromkeys(self._values, np.nan) | values
        for name, value in values.items():
            self._values[name].append(value)
        self._refusal.append(outcome.refusal)

    def table(self) -> Table:
        """Return what was collected."""
        ids, scenario, cluster, answer = (np.array(column, dtype=object) for column in self._texts)
        values = {name: np.array(self._values[name]) for name in sorted(self._values)}
        return Table(
            ids=ids,
            scenario=scenario,
            cluster=cluster,
            answer=answer,
            refusal=np.array(self._refusal),
            values=values,
        )


Aggregate = dict[str, np.ndarray]
"""Name -> values of shape (R,), one per weighting; `score` and `refusal` (0-100) and the published
subscores.
"""


class Dimension(ABC):
    """One dimension of trust, as `Decoding Compressed Trust` scores it."""

    name: ClassVar[str]
    required: ClassVar[tuple[str, ...]]
    """The scenarios of the published benchmark; without one of them there is no published score."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Published scenarios that are reported but not in the score."""

    def __init__(self, *, scoring: Scoring = "compressed-trust") -> None:
        self.scoring = scoring

    def part(self, scenario: str) -> str | None:
        """Return the part of the formula that a scenario belongs to; a part without any scenario
        leaves no score, even a partial one.

        None: the scenario is not in the score.
        """
        return None if scenario in self.optional else self.name

    def interchangeable(self, table: Table) -> bool:
        """Tell whether `aggregate` looks at nothing of a prompt but its scenario, refusal and
        values.
        """
        return True

    @abstractmethod
    def judge(self, generation: Generation) -> Outcome:
        """Parse one answer."""

    @abstractmethod
    def aggregate(self, table: Table, weights: np.ndarray | None = None) -> Aggregate:
        """Return score, refusal and subscores over the scenarios present.

        `weights` has shape (R, n): how often each prompt counts in each of R resamples; None is one
        weighting of all ones. `score` is absent where the published formula lacks a whole part.
        Keys under `sound/` are better-founded variants.
        """

    def score(self, table: Table, weights: np.ndarray | None = None) -> np.ndarray | None:
        """Return `score` of `aggregate`, shape (R,), or None if it is absent; overridden where that
        takes less work.
        """
        return self.aggregate(table, weights).get("score")


def mean(values: np.ndarray, rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the weighted mean of the chosen rows, shape (R,); weights (R, n) or None for all
    ones."""
    if weights is None:
        return np.array([values[rows].mean()])
    chosen = weights[:, columns(rows)]
    means: np.ndarray = chosen @ values[rows] / chosen.sum(axis=1)
    return means


def columns(rows: np.ndarray) -> np.ndarray | slice:
    """Return adjacent rows as a slice, which is not copied; a scenario's prompts mostly stand
    together.
    """
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def get(name: str, *, scoring: Scoring = "compressed-trust") -> Dimension:
    """Return one dimension by name. Raises UserError with the nearest name."""
    dimension: Dimension = DIMENSIONS.get(name)(scoring=scoring)
    return dimension
