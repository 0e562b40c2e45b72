"""The positive control of a dense evaluation: whether the suite and the gate notice known damage.

It is `control.json` beside the scorecard. The gate shows its noise floors beside every drop.
"""

import operator
from typing import Annotated

from pydantic import Field

from comptrust.records import Record

NAME = "control.json"


class Planted(Record):
    """Harmful flips that were planted in one dimension of the dense model's answers."""

    dimension: str
    points: float
    """The margin of `max_drop`; the planted drop is larger, by `beyond`."""
    noticed: float = Field(ge=0, le=1)
    """Share of the planted drops that `max_drop` did not let pass, 0-1."""
    why: str | None = None
    """Why nothing was noticed: such a drop cannot be planted."""


class Ruined(Record):
    """A model that is ruined as a whole, and which rules noticed that in which dimension."""

    kind: str
    """`constant answers` or `2-bit weights`."""
    policy: str
    noticed_by: dict[str, tuple[str, ...]]
    """Dimension -> the policy's rules that judge it worse than a copy with the same answers."""


class Control(Record):
    """What was planted in a dense evaluation, and what was noticed."""

    scorecard_digest: str
    """Of the dense evaluation's scorecard."""
    seeds: int
    """Planted drops of each dimension and margin."""
    beyond: float
    """Points by which a planted drop is larger than its margin, on average."""
    planted: tuple[Planted, ...]
    ruined: tuple[Ruined, ...] = ()
    floors: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    """Dimension -> 95th percentile of |drop| in points at 0.1% weight noise, if measured."""
    key_id: str = Field(default="", exclude_if=operator.not_)
    signature: str = Field(default="", exclude_if=operator.not_)
    """Of the machine that measured the floors."""

    def flips(self, dimension: str, points: float) -> Planted | None:
        """Return what was noticed of the flips planted for a margin, None if none were."""
        return next(
            (row for row in self.planted if (row.dimension, row.points) == (dimension, points)),
            None,
        )
