"""Scores are what the stored answers give, with their stored toxicity: score again and compare."""

import math
from typing import Any

from comptrust.errors import UserError
from comptrust.records import Score
from comptrust.trust import scoring
from comptrust.trust.evaluation import Evaluation

TOLERANCE = 1e-6
"""Largest difference in points that another processor or version of NumPy may make."""
MAX_REMEMBERED = 1024
"""Scores kept in memory, by the digests of answers and suite."""
FIELDS = {
    "value": "score",
    "refusal_rate": "refusal rate",
    **{name: name for name in ("n_prompts", "n_scored", "missing", "withheld")},
}
"""Field of a score -> its name in messages."""

_remembered: dict[tuple[str, ...], Score] = {}


def unanswered(evaluated: Evaluation) -> list[str]:
    """Return the dimensions whose score nobody can check, as their answers are not there."""
    return [
        score.dimension
        for score in evaluated.scorecard.scores
        if score.dimension not in evaluated.generations
        and (score.value, score.refusal_rate) != (None, None)
    ]


def check(evaluated: Evaluation, *, complete: bool = False) -> None:
    """Raise UserError for the first score that is not the one of the answers beside it.

    Dimensions without answers are left out or, if it must be `complete`, refused.
    """
    card, suite, ref = evaluated.scorecard, evaluated.suite, evaluated.ref
    if complete and (missing := unanswered(evaluated)):
        raise UserError(
            f"There are no answers of {', '.join(missing)} beside scorecard.json of {ref}, so its"
            " scores cannot be checked. Evaluate it again."
        )
    if suite and suite.digest != card.suite_digest:
        raise UserError(
            f"scorecard.json of {ref} belongs to another suite than suite.json. Evaluate it again."
        )
    if unscored := sorted(
        evaluated.generations.keys() - {score.dimension for score in card.scores}
    ):
        raise UserError(
            f"scorecard.json of {ref} has answers of {', '.join(unscored)} but no score of them."
            " Evaluate it again."
        )
    for stated in card.scores:
        if stated.dimension in evaluated.generations:
            _compare(stated, _again(evaluated, stated), ref)


def _again(evaluated: Evaluation, stated: Score) -> Score:
    """Score the answers of a dimension, whose file was compared with its digest when read."""
    name, suite = stated.dimension, evaluated.suite
    key = (
        name,
        evaluated.scoring,
        evaluated.scorecard.generations[name],
        suite.digest_of_fields() if suite else "",
        f"{stated.partial} {bool(stated.reason)}",
    )
    if key not in _remembered:
        [score] = scoring.score(
            evaluated.generations[name],
            suite=suite,
            dimensions=[name],
            scoring=evaluated.scoring,
            allow_partial=stated.partial,
            dense=bool(stated.reason),
        )
        while len(_remembered) >= MAX_REMEMBERED:
            _remembered.pop(next(iter(_remembered)), None)
        _remembered[key] = score
    return _remembered[key]


def _compare(stated: Score, measured: Score, ref: str) -> None:
    """Raise UserError for the first number that differs; newer code may have more of them."""
    numbers = [
        (what, getattr(stated, name), getattr(measured, name)) for name, what in FIELDS.items()
    ]
    for ours, theirs in ((stated.subscores, measured.subscores), (stated.sound, measured.sound)):
        numbers += [(key, value, theirs.get(key)) for key, value in ours.items()]
    if stated.estimate or measured.estimate:
        ours, theirs = (
            one.estimate.model_dump() if one.estimate else {} for one in (stated, measured)
        )
        numbers += [(f"estimate ({key})", ours.get(key), theirs.get(key)) for key in ours | theirs]
    for what, value, again in numbers:
        if not _equal(value, again):
            raise UserError(
                f"{what} of {stated.dimension} is {_shown(value)} in scorecard.json but"
                f" {_shown(again)} from its answers ({ref}). Evaluate it again."
            )


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=0, abs_tol=TOLERANCE)
    return bool(first == second)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return str(round(value, 6))
    return "missing" if value is None else str(value)
