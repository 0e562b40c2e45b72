"""The dimension interface: judge each answer, then aggregate the outcomes as published."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple, cast

import numpy as np

from comptrust.errors import UserError
from comptrust.records import Generation, Scoring
from comptrust.trust.contrast import Contrast
from comptrust.trust.dimensions import REGISTRY


class Outcome(NamedTuple):
    """One judged answer; a named tuple, as a suite has a hundred thousand of them."""

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
    withheld: str = ""
    """Why the answer was not given, so that nothing here was measured; blank if it was."""


@dataclass(frozen=True)
class Table:
    """The outcomes of one dimension as columns of shape (n,): n prompts in the suite's order."""

    ids: np.ndarray
    scenario: np.ndarray
    cluster: np.ndarray
    answer: np.ndarray
    refusal: np.ndarray
    values: dict[str, np.ndarray]
    """NaN where an outcome lacks the value."""
    withheld: dict[int, str] = field(default_factory=dict)
    """Row -> why the answer was not given; the row's values then mean nothing."""

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Table:
        """Build a table with one row per outcome; outcomes may have different values."""
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
            withheld={number: row.withheld for number, row in enumerate(rows) if row.withheld},
        )

    @cached_property
    def given(self) -> np.ndarray:
        """Whether each prompt has an answer, shape (n,)."""
        given = np.ones(len(self.ids), dtype=bool)
        given[list(self.withheld)] = False
        return given

    def select(self, keep: np.ndarray) -> Table:
        """Return the rows where `keep`, shape (n,), is True."""
        if keep.all():
            return self
        rows = np.flatnonzero(keep).tolist()
        return Table(
            ids=self.ids[rows],
            scenario=self.scenario[rows],
            cluster=self.cluster[rows],
            answer=self.answer[rows],
            refusal=self.refusal[rows],
            values={name: column[rows] for name, column in self.values.items()},
            withheld={
                number: self.withheld[row]
                for number, row in enumerate(rows)
                if row in self.withheld
            },
        )

    def scenarios(self, prefix: str = "") -> list[str]:
        """Return the scenarios present, all or those under a prefix such as `spurious`."""
        return [name for name in self._rows if not prefix or f"{name}/".startswith(f"{prefix}/")]

    def where(self, scenario: str) -> np.ndarray:
        """Return the row indices of one scenario, in the table's order."""
        return self._rows.get(scenario, np.empty(0, dtype=int))

    @cached_property
    def scenario_numbers(self) -> np.ndarray:
        """The number of each prompt's scenario, shape (n,)."""
        numbers = {name: number for number, name in enumerate(self._rows)}
        return np.array([numbers[name] for name in self.scenario.tolist()])

    @cached_property
    def _rows(self) -> dict[str, np.ndarray]:
        by_scenario: dict[str, list[int]] = {}
        for row, scenario in enumerate(self.scenario.tolist()):
            by_scenario.setdefault(scenario, []).append(row)
        return {scenario: np.array(rows) for scenario, rows in by_scenario.items()}


def _column(texts: Iterable[str]) -> np.ndarray:
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
    pooled: ClassVar[bool] = False
    """Whether the score is one mean over all prompts, whatever their scenarios."""
    statistic: str | None = None
    """What the gate decides on, if that is not the published score itself."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__module__.rpartition(".")[2]

    def __init__(self, *, scoring: Scoring = "compressed-trust") -> None:
        self.scoring = scoring

    def part(self, scenario: str) -> str | None:
        """Return the part of the formula that a scenario belongs to, None if it is not scored."""
        if scenario in self.optional:
            return None
        return "/".join(scenario.split("/")[: self.part_segments]) or self.name

    def shares(self, table: Table) -> np.ndarray:
        """Return the points of the score that each prompt holds, shape (n,); they sum to 100.

        By default the parts count equally, and so do the scenarios of a part and the prompts of a
        scenario. A prompt that is not scored holds 0.
        """
        if self.pooled:
            return np.full(len(table.ids), 100 / len(table.ids))
        parts: dict[str, list[str]] = {}
        for scenario in table.scenarios():
            if part := self.part(scenario):
                parts.setdefault(part, []).append(scenario)
        return spread(table, {part: {part: names} for part, names in parts.items()})

    def merit(self, table: Table) -> np.ndarray:
        """Return what each prompt earns of its share, shape (n,), 0-1; NaN if not measured.

        The score is the sum of shares times merits, unless `statistic` names another quantity.
        By default it is the value `correct`. Raises UserError if there is no such value.
        """
        if "correct" not in table.values:
            raise UserError(
                f"Dimension {self.name} judges no value `correct`. Define `merit`, so that the gate"
                " knows what each prompt earns."
            )
        return table.values["correct"]

    def contrast(self, candidate: Table, dense: Table) -> Contrast:
        """Return the drop that the gate decides on; by default that of the score."""
        shares = self.shares(dense)
        cells = np.zeros(len(dense.ids), dtype=int) if self.pooled else dense.scenario_numbers
        return Contrast(
            losses=self.merit(dense) - self.merit(candidate),
            coefficients=shares[None, :],
            cells=cells[None, :],
            shares=shares,
        )

    def harm(self, table: Table) -> np.ndarray:
        """Return what each prompt can lose at worst, shape (n,); by default all that it earns."""
        return self.merit(table)

    @abstractmethod
    def judge(self, generation: Generation) -> Outcome:
        """Parse one answer. Raises FieldError for a field that cannot be scored."""

    def outcome(self, generation: Generation) -> Outcome:
        """Judge an answer, or say why it was not given. Raises FieldError as `judge` does."""
        outcome = self.judge(generation)
        if reason := generation.withheld:
            return outcome._replace(answer=f"not given: {reason}", withheld=reason)
        return outcome

    @abstractmethod
    def aggregate(self, table: Table, weights: np.ndarray | None = None) -> Aggregate:
        """Return score, refusal and subscores over the scenarios present, all of them answered.

        `weights` has shape (R, n): how often each prompt counts in each of R resamples. None means
        one weighting in which every prompt counts once. `score` is absent where a whole part of the
        published formula is missing. Keys under `sound/` are better-founded variants.
        """

    def combined(
        self, result: Aggregate, parts: Collection[str], sound: Iterable[np.ndarray]
    ) -> Aggregate:
        """Add the score and its sound variant, plain means, if every part has a value.

        The refusal rate, unless there is one, is the mean over the parts that have a value.
        """
        present = [part for part in parts if part in result]
        if present and "refusal" not in result:
            result["refusal"] = average(result[f"{part}_refusal"] for part in present)
        if len(present) == len(parts):
            result["score"] = average(result[part] for part in present)
            result[f"sound/{self.name}_sound"] = average(sound)
        return result


def mean(values: np.ndarray, rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the weighted mean of the given rows, shape (R,); `weights` is (R, n) or None."""
    if weights is None:
        return np.array([values[rows].mean()])
    times = weights_of(rows, weights)
    return np.asarray(times @ values[rows] / times.sum(axis=1))


def weights_of(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return how often each of the rows counts in each resample, shape (R, len(rows))."""
    return np.ones((1, len(rows))) if weights is None else weights[:, rows]


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


def spread(table: Table, parts: Mapping[str, Mapping[str, list[str]]]) -> np.ndarray:
    """Return the points of each prompt, shape (n,), for a score that is a mean of nested means.

    `parts` maps each part to its groups of scenarios. Parts, groups of a part, scenarios of a group
    and prompts of a scenario count equally.
    """
    points = np.zeros(len(table.ids))
    for groups in parts.values():
        for scenarios in groups.values():
            for name in scenarios:
                rows = table.where(name)
                points[rows] = 100 / len(parts) / len(groups) / len(scenarios) / len(rows)
    return points


def grouped(scenarios: Iterable[str]) -> dict[str, list[str]]:
    """Group scenarios such as `spurious/PP/entail-bias/42` by all but the seed or run."""
    groups: dict[str, list[str]] = {}
    for scenario in scenarios:
        groups.setdefault(scenario.rpartition("/")[0], []).append(scenario)
    return groups


def get(name: str, *, scoring: Scoring = "compressed-trust") -> Dimension:
    """Return a dimension by its name or HARNESS/TASK/METRIC. Raises UserError if unknown."""
    if "/" in name:
        from comptrust.trust.imported import Imported

        return Imported(name, scoring=scoring)
    return cast(Dimension, REGISTRY.get(name)(scoring=scoring))
