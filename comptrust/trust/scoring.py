"""From answers to scores: checks that the answers belong together, judges them, aggregates, and says what is missing."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from comptrust.config import DIMENSIONS
from comptrust.errors import UserError, unknown
from comptrust.records import Generation, Score, Scoring, SuiteManifest
from comptrust.trust import base
from comptrust.trust.fields import FieldError

SOUND = "sound/"


def score(
    generations: Mapping[str, Sequence[Generation]],
    *,
    suite: SuiteManifest | None,
    scoring: Scoring = "compressed-trust",
    allow_partial: bool = False,
) -> tuple[Score, ...]:
    """Score each dimension's answers; without a suite the published scenarios are the required ones.

    A dimension with a required scenario absent (or, with a suite, answered in part) has value None. `allow_partial` scores
    what is there and marks it partial; the value stays None where a whole part of the formula is absent.
    Raises UserError (FieldError where it is one answer's fault) for a scenario of another suite or a field that cannot be scored.
    """
    return tuple(_one(name, rows, suite=suite, scoring=scoring, allow_partial=allow_partial) for name, rows in generations.items())


def table(generations: Sequence[Generation], *, dimension: str, scoring: Scoring) -> base.Table:
    """Judge every answer of one dimension. Raises FieldError for a field that cannot be scored."""
    judge = base.get(dimension, scoring=scoring).judge
    return base.Table.of([judge(generation) for generation in generations])


def _one(name: str, rows: Sequence[Generation], *, suite: SuiteManifest | None, scoring: Scoring, allow_partial: bool) -> Score:
    if name not in DIMENSIONS:
        raise unknown("dimension", name, DIMENSIONS)
    dimension = base.get(name, scoring=scoring)
    required = dimension.required if suite is None else suite.required.get(name, ())
    asked = suite.n_prompts.get(name, {}) if suite else None
    _belong(name, rows, suite=suite, known={*required, *(asked if asked is not None else dimension.optional)})
    counts = Counter(row.scenario for row in rows)
    missing = tuple(scenario for scenario in required if counts[scenario] < max(1, asked.get(scenario, 1) if asked else 1))
    n_prompts = sum(asked.values()) if asked is not None else len(rows)
    judged = table(rows, dimension=name, scoring=scoring)
    found = dimension.aggregate(judged) if rows else {}
    numbers = {key: float(value[0]) for key, value in found.items() if np.isfinite(value[0])}
    parts_missing = {dimension.part(scenario) for scenario in required} - {dimension.part(scenario) for scenario in counts} - {None}
    shown = not missing or allow_partial
    whole = shown and bool(required) and not parts_missing
    apart = ("score", "refusal")
    return Score(
        dimension=name,
        value=numbers.get("score") if whole else None,
        refusal_rate=numbers.get("refusal") if shown else None,
        subscores={key: value for key, value in numbers.items() if key not in apart and not key.startswith(SOUND)} if shown else {},
        sound={key.removeprefix(SOUND): value for key, value in numbers.items() if key.startswith(SOUND)} if whole else {},
        partial=bool(missing) and allow_partial,
        missing=missing,
        n_prompts=n_prompts,
        n_scored=len(rows) - _unscored(judged),
    )


def _unscored(judged: base.Table) -> int:
    """Count the answers of which nothing was measured."""
    if not judged.values:
        return 0
    return int(np.all([np.isnan(values) for values in judged.values.values()], axis=0).sum())


def _belong(name: str, rows: Sequence[Generation], *, suite: SuiteManifest | None, known: set[str]) -> None:
    """Refuse answers to scenarios that were never asked. Raises FieldError."""
    asked = {} if suite is None else suite.n_prompts.get(name, {})
    counts: Counter[str] = Counter()
    for row in rows:
        if row.dimension != name:
            raise FieldError(row, "dimension", f"is '{row.dimension}' among answers of {name}.")
        if row.scenario not in known:
            raise FieldError(row, "scenario", _unknown(name, row.scenario, known=known, suite=suite))
        counts[row.scenario] += 1
        if suite is not None and counts[row.scenario] > asked.get(row.scenario, 0):
            raise FieldError(row, "scenario", f"'{row.scenario}' has more answers than {_named(suite)} asks.")


def _unknown(name: str, scenario: str, *, known: set[str], suite: SuiteManifest | None) -> str:
    if suite is not None:
        return f"'{scenario}' is not asked by {_named(suite)}; the answers are another suite's."
    near = difflib.get_close_matches(scenario, known, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {name} scenario '{scenario}'.{hint} Answers to another suite need its suite.json beside them."


def _named(suite: SuiteManifest) -> str:
    return f"suite {suite.name} (digest {suite.digest[:12]})"


def by_dimension(rows: Sequence[Generation]) -> dict[str, list[Generation]]:
    """Split answers by dimension, in order. Raises FieldError for an unknown dimension."""
    found: dict[str, list[Generation]] = {}
    for row in rows:
        if row.dimension not in DIMENSIONS:
            raise FieldError(row, "dimension", str(unknown("dimension", row.dimension, DIMENSIONS)))
        found.setdefault(row.dimension, []).append(row)
    if not found:
        raise UserError("There are no answers to score.")
    return found
