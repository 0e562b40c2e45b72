"""Pinned suites: a policy names the prompts that count, and the answers prove that they were asked.

Whoever evaluates states the name and the digest of a suite. Neither counts until the answers show
the ids, scenarios, targets and items of exactly that suite, or of its seeded sample.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, field_validator

from comptrust.errors import UserError, unknown
from comptrust.gate import power
from comptrust.gate.evidence import Evidence
from comptrust.records import (
    Finding,
    Limit,
    Record,
    Result,
    Scoring,
    Stopped,
    Suite,
    SuiteManifest,
)
from comptrust.text_tables import counted
from comptrust.trust import base, content, sample, scorers, stopped
from comptrust.trust import suite as suites
from comptrust.trust.dimensions import dimensions
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.imported import is_name
from comptrust.trust.limit import checked, shown

RULE = "suite"
"""The name of the finding, which nobody can waive or leave out of a policy that guards a stage."""
Whole = tuple[str, tuple[str, ...], Scoring, str]
"""What loads a whole suite: its source, dimensions, scoring and classifier of toxicity."""
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class PinnedSuite(Record):
    """A suite that a policy counts."""

    name: str
    digest: Digest
    """Digest of the whole suite; its seeded samples count too."""
    source: str | None = None
    """What loads it, such as `decodingtrust:DIR`, if that is not its name. It proves samples."""
    content: Digest | None = None
    """Digest of what answers to the whole suite show, which proves them without the data."""
    items_at_least: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Dimension -> fewest items; with fewer there is neither a block nor a pass."""

    @field_validator("items_at_least")
    @classmethod
    def _check_dimensions(cls, items: dict[str, int]) -> dict[str, int]:
        for dimension in items:
            if dimension not in dimensions() and not is_name(dimension):
                raise ValueError(str(unknown("dimension", dimension, dimensions())))
        return items


def of_evaluation(evaluated: Evaluation) -> tuple[PinnedSuite, dict[str, int]]:
    """Pin what an imported evaluation was asked, and count its items.

    Raises UserError unless every prompt of it has an answer.
    """
    suite, card = evaluated.suite, evaluated.scorecard
    if suite is None or suite.sample is not None or suite.limit is not None:
        raise UserError(f"{evaluated.ref} does not have the answers to a whole suite.")
    if missing := [score.dimension for score in card.scores if score.missing or score.withheld]:
        raise UserError(
            f"{evaluated.ref} lacks answers of {', '.join(missing)}, so it does not show the whole"
            " suite. Pin one that is complete."
        )
    pin = PinnedSuite(name=suite.name, digest=suite.digest, content=content.of_answers(evaluated))
    return pin, {name: _items(evaluated, name) for name in suite.required}


def named(suite: SuiteManifest | None, pins: Sequence[PinnedSuite]) -> PinnedSuite | None:
    """Return the pinned suite that a record states, None if it is not pinned.

    Either may state the digest of an earlier version, if the suite can be loaded to know both.
    """
    own = [pin for pin in pins if suite and pin.name == suite.name]
    equal = (pin for pin in own if suite and pin.digest == suite.parent)
    return next(equal, None) or next((pin for pin in own if suite and _also(pin, suite)), None)


def check(evidence: Evidence, pins: Sequence[PinnedSuite], *, policy: str) -> Finding:
    """Return whether candidate and baseline were asked a suite that a policy names, and enough."""
    candidate, baseline = evidence.candidate, evidence.baseline
    if baseline is None:
        return _finding("inconclusive", "There is no dense baseline, so no suite was asked twice.")
    try:
        pin = _require_named(candidate, pins, policy=policy)
        _require_named(baseline, pins, policy=policy)
        distinct = [_prove(evaluated, pin) for evaluated in (candidate, baseline)]
    except UserError as error:
        return _finding("inconclusive", str(error))
    counts = {
        name: min(
            *(_items(one, name) for one in (candidate, baseline) if not _stopped(one)),
            *(items[name] for items in distinct if name in items),
        )
        for name in pin.items_at_least
    }
    facts = {"suite": pin.name, "digest": pin.digest, "items": counts}
    if few := [
        f"{name} has {counted(counts[name], 'item')}, and the policy asks for {least}"
        for name, least in pin.items_at_least.items()
        if counts[name] < least
    ]:
        reason = f"Too few items to decide: {'; '.join(few)}. Ask a larger part of the suite."
        return _finding("inconclusive", reason, **facts)
    return _finding(
        "pass",
        f"Candidate and baseline were asked {_part(candidate)} {pin.name} ({pin.digest[:12]}),"
        f" which policy {policy} names.",
        **facts,
    )


def too_few(evidence: Evidence, least: Mapping[str, int]) -> bool:
    """Return whether a dimension has fewer items than a policy asks for."""
    if evidence.course:
        return False
    sides = [evidence.candidate, *filter(None, [evidence.baseline])]
    return any(_items(side, name) < least[name] for name in least for side in sides)


def _require_named(
    evaluated: Evaluation, pins: Sequence[PinnedSuite], *, policy: str
) -> PinnedSuite:
    ref, suite = evaluated.ref, evaluated.suite
    if suite is None:
        raise UserError(f"{ref} has no suite.json, so nothing says which prompts it was asked.")
    if pin := named(suite, pins):
        return pin
    own = ", ".join(f"{pin.name} {pin.digest[:12]}" for pin in pins) or "none"
    raise UserError(
        f"{ref} was asked suite {suite.name} ({suite.parent}), which policy {policy} does not name"
        f" (suites: {own}). If these prompts are to count, add them to a policy of your own:"
        " comptrust suites pin."
    )


def _prove(evaluated: Evaluation, pin: PinnedSuite) -> Mapping[str, int]:
    """Return the items of each dimension, as far as they are known without the answers.

    Raises UserError unless the answers are to the pinned suite or its seeded sample.
    """
    ref, suite = evaluated.ref, evaluated.suite
    assert suite is not None
    items: Mapping[str, int] = {}
    part = suite.sample or suite.stopped
    expected = None if part or suite.parent != pin.digest else pin.content
    if expected is None:
        ended = suite.stopped and suite.stopped.model_dump_json()
        try:
            expected, items = _expected(*_whole(pin, suite), suite.parent, suite.limit, ended)
        except UserError as error:
            raise UserError(
                f"Whether {ref} was asked {_part(evaluated)} {pin.name} cannot be checked here."
                f" {error}"
            ) from error
    same_suite = evaluated.scorecard.suite_digest == suite.digest
    if not same_suite or not content.shows(evaluated, expected):
        raise UserError(
            f"{ref} has answers to other prompts than {_part(evaluated)} {pin.name}"
            f" ({pin.digest[:12]}), which its suite.json states. Evaluate it again."
        )
    return items


def _also(pin: PinnedSuite, suite: SuiteManifest) -> bool:
    """Return whether the data here has both digests, that of a pin and that of a record."""
    try:
        return _is(*_whole(pin, suite), suite.parent) and _is(*_whole(pin, suite), pin.digest)
    except UserError:
        return False


def _whole(pin: PinnedSuite, suite: SuiteManifest) -> Whole:
    scorer = suite.scorers.get("toxicity", scorers.DEFAULT).partition("@")[0]
    dimensions = tuple(suite.stopped.of if suite.stopped else suite.required)
    return pin.source or pin.name, dimensions, suite.scoring, scorer


def _load(spec: str, dimensions: tuple[str, ...], scoring: Scoring, scorer: str) -> Suite:
    return suites.load(spec, dimensions=dimensions, scoring=scoring, toxicity_scorer=scorer)


@functools.lru_cache(maxsize=64)
def _is(spec: str, dimensions: tuple[str, ...], scoring: Scoring, scorer: str, digest: str) -> bool:
    """Return whether a suite has a digest, now or in earlier versions. Raises UserError."""
    return _load(spec, dimensions, scoring, scorer).is_named(digest)


@functools.lru_cache(maxsize=64, typed=True)
def _expected(
    spec: str,
    dimensions: tuple[str, ...],
    scoring: Scoring,
    scorer: str,
    digest: str,
    limit: Limit | None,
    ended: str | None,
) -> tuple[str, dict[str, int]]:
    """Return what answers to a suite, or to its seeded sample, show; and its items.

    Of an evaluation that stopped early, `ended` is the record. It shows a part of them, and has all
    of their items, since the rule could have asked any. Raises UserError if the suite of that
    digest cannot be loaded here.
    """
    suite = _load(spec, dimensions, scoring, scorer).named(digest)
    if suite.digest != digest:
        raise UserError(
            f"'{spec}' here has the digest {suite.digest[:12]}, not {digest[:12]}. Let `source:` in"
            " the policy name the pinned data."
        )
    if limit is not None:
        suite = sample.draw(suite, checked(limit))
    asked = stopped.part(suite, Stopped.model_validate_json(ended)) if ended else suite
    return content.of_suite(asked), content.items(suite)


def whole(suite: SuiteManifest, pins: Sequence[PinnedSuite]) -> Suite:
    """Load the suite, or its seeded sample, of which an evaluation that stopped asked a part.

    Raises UserError if it cannot be loaded here.
    """
    pin = named(suite, pins) or PinnedSuite(name=suite.name, digest=suite.parent)
    loaded = _load(*_whole(pin, suite)).named(suite.parent)
    return loaded if suite.limit is None else sample.draw(loaded, checked(suite.limit))


def _stopped(evaluated: Evaluation) -> bool:
    return bool(evaluated.suite and evaluated.suite.stopped)


def _items(evaluated: Evaluation, name: str) -> int:
    table = evaluated.table(name)
    return power.items(base.get(name, scoring=evaluated.scoring), table) if table else 0


def _part(evaluated: Evaluation) -> str:
    limit = evaluated.suite.limit if evaluated.suite else None
    if _stopped(evaluated):
        return "the first items in the order of suite"
    return "all of suite" if limit is None else f"the seeded sample (limit {shown(limit)}) of suite"


def _finding(outcome: Result, reason: str, **evidence: object) -> Finding:
    return Finding(rule=RULE, outcome=outcome, reason=reason, evidence=evidence)
