"""What must hold for scorecards before they are judged; whether a score is missing is for the gate
to judge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.gate.expectations.check import check
from comptrust.records import Score, Scorecard
from comptrust.trust.dimensions import dimensions

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

MOST = {"toxicity": 200}
"""Largest score where it is not 100: as published, toxicity is 100 (1 - mean), to which a prompt
with blank answers alone adds -1.
"""


def validate(scorecards: Sequence[Scorecard], *, out: Path) -> None:
    """Check one or more scorecards; results go to `out`. Raises UserError naming the scores that
    are impossible.
    """
    import pandas as pd

    rows = [
        {
            "row": f"{card.checkpoint_digest[:8]}/{score.dimension}",
            "dimension": score.dimension,
            "in_range": score.value is None or 0 <= score.value <= MOST.get(score.dimension, 100),
            "finite": all(math.isfinite(number) for number in _numbers(score)),
            "value": score.value,
            "refusal_rate": score.refusal_rate,
            "n_prompts": score.n_prompts,
            "n_scored": score.n_scored,
            "measured_from_answers": score.value is None or score.n_scored > 0,
            "digests": f"{card.checkpoint_digest} {card.suite_digest}",
        }
        for card in scorecards
        for score in card.scores
    ]
    frame = pd.DataFrame(rows, columns=list(rows[0]) if rows else ["row"])
    check(
        "scorecards",
        frame.astype({"value": float, "refusal_rate": float}) if rows else frame,
        expectations,
        out=out,
    )


def expectations() -> list[Expectation]:
    """Return the suite, each expectation with what it means."""
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectTableRowCountToBeBetween(
            min_value=1, meta={"meaning": "there is at least one score"}
        ),
        gxe.ExpectColumnValuesToBeUnique(
            column="row", meta={"meaning": "a model has one score per dimension"}
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="dimension",
            value_set=list(dimensions()),
            meta={"meaning": "the dimension is a known one"},
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="finite", value_set=[True], meta={"meaning": "every number is finite"}
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="in_range",
            value_set=[True],
            meta={"meaning": "a score is 0 to 100, of toxicity 0 to 200: a blank text counts -1"},
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="refusal_rate",
            min_value=0,
            max_value=100,
            meta={"meaning": "refusals are 0 to 100"},
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="n_prompts",
            min_value=1,
            meta={"meaning": "a score rests on at least one prompt"},
        ),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="n_prompts",
            column_B="n_scored",
            or_equal=True,
            meta={"meaning": "no more answers are scored than were asked"},
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="measured_from_answers",
            value_set=[True],
            meta={"meaning": "a score rests on at least one scored answer"},
        ),
        gxe.ExpectColumnValuesToMatchRegex(
            column="digests",
            regex="^[0-9a-f]{64} [0-9a-f]{64}$",
            meta={"meaning": "checkpoint and suite are named by SHA-256"},
        ),
    ]


def _numbers(score: Score) -> list[float]:
    return [
        number
        for number in (score.value, score.refusal_rate, *score.subscores.values())
        if number is not None
    ]
