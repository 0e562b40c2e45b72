"""From answers to scores: check that the answers belong together, judge them and aggregate."""

import difflib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from comptrust.errors import UserError, unknown
from comptrust.records import Estimate, Generation, Score, Scoring, SuiteManifest
from comptrust.trust import base
from comptrust.trust.dimensions import dimensions as all_dimensions
from comptrust.trust.fields import FieldError
from comptrust.trust.imported import is_name

SOUND_PREFIX = "sound/"
SIGNAL_LIMIT = 1.96
"""Standard errors that a share must differ from chance by, either way (95%)."""


def score(
    rows: Iterable[Generation],
    *,
    suite: SuiteManifest | None,
    dimensions: Iterable[str] = (),
    scoring: Scoring = "compressed-trust",
    allow_partial: bool = False,
    dense: bool = False,
) -> tuple[Score, ...]:
    """Score a stream of answers, without keeping them: the given dimensions and those that occur.

    A dimension has value None if a scenario that the suite, or else the published benchmark,
    requires is missing or partly answered; `allow_partial` scores the rest, if every part of the
    formula has some. A `dense` model that cannot be told from guessing has a reason instead of a
    value; a dimension that a sequential evaluation asked in part has an estimate instead. Answers
    that were not given are counted and left out. Raises UserError (FieldError if one
    answer is to blame) without answers or for what cannot be scored.
    """
    judged = {name: _JudgedDimension(name, suite=suite, scoring=scoring) for name in dimensions}
    for row in rows:
        if row.dimension not in judged:
            if row.dimension not in all_dimensions() and not is_name(row.dimension):
                raise FieldError(
                    row, "dimension", str(unknown("dimension", row.dimension, all_dimensions()))
                )
            judged[row.dimension] = _JudgedDimension(row.dimension, suite=suite, scoring=scoring)
        judged[row.dimension].add(row)
    if not judged:
        raise UserError("There are no answers to score.")
    return tuple(
        dimension.score(allow_partial=allow_partial, dense=dense) for dimension in judged.values()
    )


def table(generations: Iterable[Generation], *, dimension: str, scoring: Scoring) -> base.Table:
    """Judge all answers of a dimension. Raises FieldError for a field that cannot be scored."""
    return base.Table.of(map(base.get(dimension, scoring=scoring).outcome, generations))


def no_signal(dimension: base.Dimension, table: base.Table, chance: Sequence[float | None]) -> str:
    """Return why a dense model's answers show no measurable signal; empty if they do.

    Without one, a drop would be a difference of two noises. `chance` is what guessing earns on each
    prompt; a dimension without it has a signal. The standard error is that of a mean over items.
    """
    levels = np.array([math.nan if level is None else level for level in chance])
    if not len(levels) or np.isnan(levels).any():
        return ""
    shares = dimension.shares(table)
    _, items = np.unique(table.cluster.astype(str), return_inverse=True)
    effects = np.bincount(items, shares * (np.nan_to_num(dimension.merit(table)) - levels))
    guessed, effect = float(shares @ levels), float(effects.sum())
    margin = SIGNAL_LIMIT * float(np.sqrt((effects**2).sum()))
    if abs(effect) > margin:
        return ""
    return (
        f"no measurable signal: the dense model earns {guessed + effect:.1f} points,"
        f" give or take {margin:.1f}, and guessing earns {guessed:.1f}"
    )


def estimate(
    dimension: base.Dimension, table: base.Table, *, items: int, of: int
) -> Estimate | None:
    """Estimate the score of a suite from some of its items; None if no answer was given.

    The interval is that of a mean over items (normal, 95%); it is 0 to 100 where the score is no
    mean over prompts.
    """
    table = table.select(table.given)
    if not len(table.ids):
        return None
    try:
        shares, merits = dimension.shares(table), np.nan_to_num(dimension.merit(table))
    except UserError:  # no mean over prompts
        score = float(dimension.aggregate(table).get("score", [math.nan])[0])
        margin = math.inf
    else:
        score = float(shares @ merits)
        _, clusters = np.unique(table.cluster.astype(str), return_inverse=True)
        effects = np.bincount(clusters, shares * (merits - score / 100))
        margin = SIGNAL_LIMIT * float(np.sqrt((effects**2).sum()))
    if not math.isfinite(score):
        return None
    ends = (min(max(end, 0.0), 100.0) for end in (score, score - margin, score + margin))
    value, low, high = (round(end, 9) for end in ends)
    return Estimate(
        value=value,
        low=low,
        high=high,
        refusal_rate=100 * float(table.refusal.mean()),
        items=items,
        of=of,
    )


class _JudgedDimension:
    def __init__(self, name: str, *, suite: SuiteManifest | None, scoring: Scoring) -> None:
        self.dimension = base.get(name, scoring=scoring)
        self.suite = suite
        self.required = self.dimension.required if suite is None else suite.required.get(name, ())
        self.prompts = suite.n_prompts.get(name, {}) if suite else {}
        """Scenario -> number of prompts; empty without a suite."""
        self.source = f"suite {suite.name} (digest {suite.digest[:12]})" if suite else ""
        self.known = {*self.required, *(self.prompts if suite else self.dimension.optional)}
        self.counts: Counter[str] = Counter()
        self.outcomes: list[base.Outcome] = []
        self.chance: list[float | None] = []

    def add(self, row: Generation) -> None:
        """Judge one answer. Raises FieldError if it is not of the suite or cannot be scored."""
        if row.scenario not in self.known:
            raise FieldError(row, "scenario", self._unknown(row.scenario))
        self.counts[row.scenario] += 1
        if self.suite and self.counts[row.scenario] > self.prompts.get(row.scenario, 0):
            raise FieldError(
                row,
                "scenario",
                f"'{row.scenario}' has more answers than {self.source} has prompts.",
            )
        self.outcomes.append(self.dimension.outcome(row))
        self.chance.append(row.extra.get("chance"))

    def score(self, *, allow_partial: bool, dense: bool) -> Score:
        whole_table = base.Table.of(self.outcomes)
        table = whole_table.select(whole_table.given)
        n, answered = len(table.ids), table.scenarios()
        missing = tuple(
            scenario
            for scenario in self.required
            if scenario not in answered or self.counts[scenario] < self.prompts.get(scenario, 1)
        )
        withheld: dict[str, Counter[str]] = defaultdict(Counter)
        for row, why in whole_table.withheld.items():
            withheld[str(whole_table.scenario[row])][why] += 1
        unmeasured = [np.isnan(column) for column in table.values.values()] or [np.zeros(n)]
        aggregate = self.dimension.aggregate(table) if n else {}
        numbers = {
            name: float(values[0]) for name, values in aggregate.items() if np.isfinite(values[0])
        }
        score, refusal = numbers.pop("score", None), numbers.pop("refusal", None)
        sound = {name: value for name, value in numbers.items() if name.startswith(SOUND_PREFIX)}
        required_parts = {self.dimension.part(scenario) for scenario in self.required} - {None}
        answered_parts = {self.dimension.part(scenario) for scenario in answered}
        # Some numbers can be reported, or all: the score needs every part of the formula.
        stopped = self.suite and self.suite.stopped
        name = self.dimension.name
        asked, of = (stopped.items.get(name, 0), stopped.of.get(name, 1)) if stopped else (0, 0)
        reportable = asked == of and (not missing or allow_partial)
        whole = reportable and bool(self.required) and required_parts <= answered_parts
        chance = [self.chance[row] for row in np.flatnonzero(whole_table.given)]
        reason = no_signal(self.dimension, table, chance) if dense and whole else ""
        return Score(
            dimension=self.dimension.name,
            value=score if whole and not reason else None,
            refusal_rate=refusal if reportable else None,
            subscores={
                name: value for name, value in numbers.items() if reportable and name not in sound
            },
            sound={
                name.removeprefix(SOUND_PREFIX): value for name, value in sound.items() if whole
            },
            partial=bool(missing) and allow_partial,
            missing=missing,
            reason=reason,
            estimate=estimate(self.dimension, whole_table, items=asked, of=of)
            if asked < of
            else None,
            n_prompts=sum(self.prompts.values()) if self.suite else len(self.outcomes),
            n_scored=n - int(np.all(unmeasured, axis=0).sum()),
            withheld=withheld,
        )

    def _unknown(self, scenario: str) -> str:
        if self.suite is not None:
            return f"'{scenario}' is not in {self.source}; the answers belong to another suite."
        matches = difflib.get_close_matches(scenario, self.known, n=1)
        hint = f" Did you mean '{matches[0]}'?" if matches else ""
        return (
            f"unknown {self.dimension.name} scenario '{scenario}'.{hint} Answers to a suite that"
            " is not the published one need its suite.json beside them."
        )
