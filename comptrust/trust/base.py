"""The dimension interface: judge each answer, then aggregate the outcomes as published."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple, cast

import numpy as np

from comptrust.records import Generation, Scoring
from comptrust.trust.dimensions import REGISTRY


class Outcome(NamedTuple):
    """One judged answer.

    A named tuple rather than a validated record: a suite has a hundred thousand of them.
    """

    prompt_id: str
    scenario: str
    cluster: str
    """Prompts that share a template or a passage share a cluster; by default the prompt's id."""
    answer: str
    """The parsed answer; it shows whether the answer flipped between two models."""
    refusal: float
    """Share of the prompt's texts that are refusals, 0-1."""
    values: dict[str, float]
    """Numbers that `aggregate` needs, such as `correct`."""


@dataclass(frozen=True)
class Table:
    """The outcomes of one dimension as columns, ready for resampling.

    Every column has shape (n,): n prompts in the suite's order.
    """

    ids: np.ndarray
    scenario: np.ndarray
    cluster: np.ndarray
    answer: np.ndarray
    refusal: np.ndarray
    values: dict[str, np.ndarray]
    """NaN where an outcome lacks the value."""

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Table:
        """Build a table with one row per outcome.

        Outcomes of one dimension may have different values (privacy's e-mails have more).
        """
        rows = list(outcomes)
        names = sorted({name for row in rows for name in row.values})
        return cls(
            ids=_column(row.prompt_id for row in rows),
            scenario=_column(row.scenario for row in rows),
            cluster=_column(row.cluster for row in rows),
            answer=_column(row.answer for row in rows),
            refusal=np.array([row.refusal for row in rows], dtype=float),
            values={
                name: np.array([row.values.get(name, np.nan) for row in rows]) for name in names
            },
        )

    def take(self, rows: np.ndarray) -> Table:
        """Return a table of the given rows."""
        return Table(
            ids=self.ids[rows],
            scenario=self.scenario[rows],
            cluster=self.cluster[rows],
            answer=self.answer[rows],
            refusal=self.refusal[rows],
            values={name: column[rows] for name, column in self.values.items()},
        )

    def scenarios(self, prefix: str = "") -> list[str]:
        """Return the scenarios present, all or those under a prefix.

        `spurious` selects `spurious` itself and `spurious/PP/...`.
        """
        return [name for name in self._rows if not prefix or f"{name}/".startswith(f"{prefix}/")]

    def where(self, scenario: str) -> np.ndarray:
        """Return the row indices of one scenario, in the table's order."""
        return self._rows.get(scenario, np.empty(0, dtype=int))

    @cached_property
    def _rows(self) -> dict[str, np.ndarray]:
        by_scenario: dict[str, list[int]] = {}
        for row, scenario in enumerate(self.scenario.tolist()):
            by_scenario.setdefault(scenario, []).append(row)
        return {scenario: np.array(rows) for scenario, rows in by_scenario.items()}


def _column(texts: Iterable[str]) -> np.ndarray:
    """Return the texts as an array; equal ones are kept once, as there are few scenarios."""
    return np.array([sys.intern(text) for text in texts], dtype=object)


Aggregate = dict[str, np.ndarray]
"""Name -> values of shape (R,), one per weighting: `score`, `refusal` and subscores, 0-100."""


class Dimension(ABC):
    """One dimension of trust, scored as in `Decoding Compressed Trust` (Hong et al. 2024)."""

    name: ClassVar[str]
    """By default the name of the module that defines the class."""
    required: ClassVar[tuple[str, ...]]
    """The scenarios of the published benchmark; the published score needs every one of them."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Published scenarios that are reported but are not part of the score."""
    part_segments: ClassVar[int | None] = 0
    """How many segments of a scenario name its part of the formula; None: all, 0: only one part."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__module__.rpartition(".")[2]

    def __init__(self, *, scoring: Scoring = "compressed-trust") -> None:
        self.scoring = scoring

    def part(self, scenario: str) -> str | None:
        """Return the part of the formula that a scenario belongs to, None if it is not scored.

        If a part has no scenario at all there is no score, not even a partial one.
        """
        if scenario in self.optional:
            return None
        return "/".join(scenario.split("/")[: self.part_segments]) or self.name

    def interchangeable(self, table: Table) -> bool:
        """Return whether `aggregate` uses only a prompt's scenario, refusal and values.

        Prompts that agree in these can then be counted together when resampling.
        """
        return True

    @abstractmethod
    def judge(self, generation: Generation) -> Outcome:
        """Parse one answer. Raises FieldError for a field that cannot be scored."""

    @abstractmethod
    def aggregate(self, table: Table, weights: np.ndarray | None = None) -> Aggregate:
        """Return score, refusal and subscores over the scenarios present.

        `weights` has shape (R, n): how often each prompt counts in each of R resamples. None means
        one weighting in which every prompt counts once. `score` is absent where a whole part of the
        published formula is missing. Keys under `sound/` are better-founded variants.
        """

    def score(self, table: Table, weights: np.ndarray | None = None) -> np.ndarray | None:
        """Return the `score` of `aggregate`, shape (R,), or None if it is absent.

        Override this where the score alone can be computed faster.
        """
        return self.aggregate(table, weights).get("score")


def mean(values: np.ndarray, rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the weighted mean of the given rows, shape (R,).

    `weights` has shape (R, n); None weighs every row once.
    """
    if weights is None:
        return np.array([values[rows].mean()])
    times = weights_of(rows, weights)
    return np.asarray(times @ values[rows] / times.sum(axis=1))


def weights_of(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return how often each of the rows counts in each resample, shape (R, len(rows))."""
    return np.ones((1, len(rows))) if weights is None else weights[:, columns(rows)]


def columns(rows: np.ndarray) -> np.ndarray | slice:
    """Return the rows as a slice if they are adjacent, else unchanged.

    Indexing with a slice copies nothing, and the prompts of a scenario are usually adjacent.
    """
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def average(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return the plain mean of several results, each of shape (R,)."""
    return np.asarray(np.mean(np.stack(list(parts)), axis=0))


def over(
    table: Table, values: np.ndarray, scenarios: Sequence[str], weights: np.ndarray | None
) -> np.ndarray:
    """Return 100 times the plain mean over scenarios of each one's weighted mean, shape (R,)."""
    return average(100 * mean(values, table.where(name), weights) for name in scenarios)


def nested(
    table: Table, values: np.ndarray, groups: dict[str, list[str]], weights: np.ndarray | None
) -> np.ndarray:
    """Return 100 times the mean over groups of the mean over each group's scenarios, shape (R,)."""
    return average(over(table, values, scenarios, weights) for scenarios in groups.values())


def grouped(scenarios: Iterable[str]) -> dict[str, list[str]]:
    """Group scenarios by all but their last segment, the seed or run.

    `spurious/PP/entail-bias/42` goes into `spurious/PP/entail-bias`.
    """
    groups: dict[str, list[str]] = {}
    for scenario in scenarios:
        groups.setdefault(scenario.rpartition("/")[0], []).append(scenario)
    return groups


def get(name: str, *, scoring: Scoring = "compressed-trust") -> Dimension:
    """Return a dimension by name. Raises UserError for an unknown name."""
    return cast(Dimension, REGISTRY.get(name)(scoring=scoring))
