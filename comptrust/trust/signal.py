"""Signal: can what the dense model shows in a dimension be told from chance at all?

Where it cannot, there is nothing to lose: a drop there would be a difference between two noises.
"""

import math
from collections.abc import Sequence

import numpy as np

from comptrust.trust.base import Dimension, Table

LIMIT = 1.96
"""Standard errors that a share must differ from chance by, either way (95%)."""


def missing(dimension: Dimension, table: Table, chance: Sequence[float | None]) -> str:
    """Return why a dense model's answers show no measurable signal; empty if they do.

    `chance` is what guessing earns on each prompt (`extra.chance`); a dimension in which a prompt
    has no such level always has a signal. The standard error is that of a mean over items, each
    with its weight in the score.
    """
    levels = np.array([math.nan if level is None else level for level in chance])
    if not len(levels) or np.isnan(levels).any():
        return ""
    shares = dimension.shares(table)
    merit = np.nan_to_num(dimension.merit(table))
    _, items = np.unique(table.cluster.astype(str), return_inverse=True)
    effects = np.bincount(items, shares * (merit - levels))
    guessed = float(shares @ levels)
    effect = float(effects.sum())
    error = float(np.sqrt((effects**2).sum()))
    if abs(effect) > LIMIT * error:
        return ""
    return (
        f"no measurable signal: the dense model earns {guessed + effect:.1f} points,"
        f" give or take {LIMIT * error:.1f}, and guessing earns {guessed:.1f}"
    )
