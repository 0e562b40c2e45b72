"""From answers to scores: checks that the answers belong together, judges them, aggregates, and
says what is missing.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from comptrust.errors import UserError, unknown
from comptrust.records import Generation, Score, Scoring, SuiteManifest
from comptrust.trust import base
from comptrust.trust.dimensions import dimensions
from comptrust.trust.fields import FieldError

SOUND = "sound/"


def score(
    generations: Mapping[str, Sequence[Generation]],
    *,
    suite: SuiteManifest | None,
    scoring: Scoring = "compressed-trust",
    allow_partial: bool = False,
) -> tuple[Score, ...]:
    """Score each dimension's answers; without a suite the published scenarios are the required
    ones.

    A dimension with a required scenario absent (or, with a suite, answered in part) has value None.
    `allow_partial` scores what is there and marks it partial; the value stays None where a whole
    part of the formula is absent. Raises UserError (FieldError where it is one answer's fault) for
    a scenario of another suite or a field that cannot be scored.
    """
    judged = []
    for name, rows in generations.items():
        judged.append(_Judged(name, suite=suite, scoring=scoring))
        for row in rows:
            judged[-1].add(row)
    return tuple(one.score(allow_partial=allow_partial) for one in judged)


def score_stream(
    rows: Iterable[Generation],
    *,
    suite: SuiteManifest | None,
    scoring: Scoring = "compressed-trust",
    allow_partial: bool = False,
) -> tuple[Score, ...]:
    """Score answers of any dimensions in one pass that keeps none of them; else as `score`. Raises
    UserError if there are none.
    """
    judged: dict[str, _Judged] = {}
    for row in rows:
        if row.dimension not in judged:
            if row.dimension not in dimensions():
                raise FieldError(
                    row, "dimension", str(unknown("dimension", row.dimension, dimensions()))
                )
            judged[row.dimension] = _Judged(row.dimension, suite=suite, scoring=scoring)
        judged[row.dimension].add(row)
    if not judged:
        raise UserError("There are no answers to score.")
    return tuple(one.score(allow_partial=allow_partial) for one in judged.values())


def table(generations: Iterable[Generation], *, dimension: str, scoring: Scoring) -> base.Table:
    """Judge every answer of one dimension. Raises FieldError for a field that cannot be scored."""
    judge = base.get(dimension, scoring=scoring).judge
    return base.Table.of(judge(generation) for generation in generations)


class _Judged:
    """One dimension's answers, judged one by one."""

    def __init__(self, name: str, *, suite: SuiteManifest | None, scoring: Scoring) -> None:
        if name not in dimensions():
            raise unknown("dimension", name, dimensions())
        self.dimension = base.get(name, scoring=scoring)
        self.suite = suite
        self.required = self.dimension.required if suite is None else suite.required.get(name, ())
        self.asked = suite.n_prompts.get(name, {}) if suite else None
        self.known = {
            *self.required,
            *(self.asked if self.asked is not None else self.dimension.optional),
        }
        self.counts: Counter[str] = Counter()
        self.columns = base.Columns()

    def add(self, row: Generation) -> None:
        """Judge one answer. Raises FieldError if it was never asked or cannot be scored."""
        name = self.dimension.name
        if row.dimension != name:
            raise FieldError(row, "dimension", f"is '{row.dimension}' among answers of {name}.")
        if row.scenario not in self.known:
            raise FieldError(row, "scenario", self._unknown(row.scenario))
        self.counts[row.scenario] += 1
        if (
            self.suite is not None
            and self.asked is not None
            and self.counts[row.scenario] > self.asked.get(row.scenario, 0)
        ):
            raise FieldError(
                row,
                "scenario",
                f"'{row.scenario}' has more answers than {_named(self.suite)} asks.",
            )
        self.columns.add(self.dimension.judge(row))

    def score(self, *, allow_partial: bool) -> Score:
        """Aggregate what was judged."""
        dimension, asked = self.dimension, self.asked
        missing = tuple(
            one
            for one in self.required
            if self.counts[one] < max(1, asked.get(one, 1) if asked else 1)
        )
        judged = self.columns.table()
        n = len(judged.ids)
        found = dimension.aggregate(judged) if n else {}
        numbers = {key: float(value[0]) for key, value in found.items() if np.isfinite(value[0])}
        parts = [
            {dimension.part(scenario) for scenario in scenarios}
            for scenarios in (self.required, self.counts)
        ]
        shown = not missing or allow_partial
        whole = shown and bool(self.required) and not parts[0] - parts[1] - {None}
        apart = ("score", "refusal")
        return Score(
            dimension=dimension.name,
            value=numbers.get("score") if whole else None,
            refusal_rate=numbers.get("refusal") if shown else None,
            subscores=(
                {
                    key: value
                    for key, value in numbers.items()
                    if key not in apart and not key.startswith(SOUND)
                }
                if shown
                else {}
            ),
            sound=(
                {
                    key.removeprefix(SOUND): value
                    for key, value in numbers.items()
                    if key.startswith(SOUND)
                }
                if whole
                else {}
            ),
            partial=bool(missing) and allow_partial,
            missing=missing,
            n_prompts=sum(asked.values()) if asked is not None else n,
            n_scored=n - _unscored(judged),
        )

    def _unknown(self, scenario: str) -> str:
        if self.suite is not None:
            return (
                f"'{scenario}' is not asked by {_named(self.suite)}; the answers are another"
                " suite's."
            )
        near = difflib.get_close_matches(scenario, self.known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return (
            f"unknown {self.dimension.name} scenario '{scenario}'.{hint} Answers to another suite"
            " need its suite.json beside them."
        )


def _unscored(judged: base.Table) -> int:
    """Count the answers of which nothing was measured."""
    if not judged.values:
        return 0
    return int(np.all([np.isnan(values) for values in judged.values.values()], axis=0).sum())


def _named(suite: SuiteManifest) -> str:
    return f"suite {suite.name} (digest {suite.digest[:12]})"
