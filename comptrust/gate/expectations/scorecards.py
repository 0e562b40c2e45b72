"""The frame of scores that is checked before scorecards are judged.

Whether a score is missing is for the gate to judge, not for this check.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from comptrust.gate.expectations.check import check
from comptrust.records import Score, Scorecard

MAX_SCORE = {"toxicity": 200}
"""Largest score where it is not 100.

As published, toxicity is 100 (1 - mean), and a prompt with only blank answers adds -1 to the mean.
"""


def validate(scorecards: Sequence[Scorecard], *, out: Path) -> None:
    """Check one or more scorecards; results go to `out`.

    Raises UserError naming the scores that are impossible.
    """
    import pandas as pd

    rows = [(card, score) for card in scorecards for score in card.scores]
    scores = [score for _, score in rows]
    frame = pd.DataFrame(
        {
            "row": [f"{card.checkpoint_digest[:8]}/{score.dimension}" for card, score in rows],
            "dimension": [score.dimension for score in scores],
            "in_range": [_in_range(score) for score in scores],
            "finite": [_finite(score) for score in scores],
            "value": pd.Series([score.value for score in scores], dtype=float),
            "refusal_rate": pd.Series([score.refusal_rate for score in scores], dtype=float),
            "n_prompts": [score.n_prompts for score in scores],
            "n_scored": [score.n_scored for score in scores],
            "measured_from_answers": [
                score.value is None or score.n_scored > 0 for score in scores
            ],
            "digests": [f"{card.checkpoint_digest} {card.suite_digest}" for card, _ in rows],
        }
    )
    check("scorecards", frame, out=out)


def _in_range(score: Score) -> bool:
    return score.value is None or 0 <= score.value <= MAX_SCORE.get(score.dimension, 100)


def _finite(score: Score) -> bool:
    numbers = (score.value, score.refusal_rate, *score.subscores.values())
    return all(number is None or math.isfinite(number) for number in numbers)
