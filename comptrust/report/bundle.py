"""What is handed over: the facts of which the card, the bill of materials and the map are made."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from comptrust.gate import resampling
from comptrust.gate.signing.attestations import Attestation
from comptrust.records import Checkpoint, Verdict
from comptrust.report import forest
from comptrust.tracking.registry import Version
from comptrust.trust import base
from comptrust.trust.evaluation import Evaluation

RESAMPLES = 2000


@dataclass(frozen=True)
class Bundle:
    """A judged version, and what is known of it."""

    version: Version
    measured: Evaluation
    verdict: Verdict
    attestation: Attestation | None
    config: dict[str, Any]
    """The checkpoint's config.json; empty if it has none."""
    license: dict[str, str]
    """`license`, `license_name`, `license_link`, as far as the base model says it."""
    hub_id: str | None
    """The base model on Hugging Face; None if it was a folder."""
    files: dict[str, str]
    """Path in the bundle -> SHA-256, without the files that describe it."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint's record."""
        assert self.measured.checkpoint is not None
        return self.measured.checkpoint

    @property
    def base(self) -> str:
        """Name of the dense source, without the folders above it."""
        name = self.checkpoint.recipe.base_model
        return self.hub_id or Path(name).name or name

    @cached_property
    def drops(self) -> dict[str, forest.Interval]:
        """Dimension -> the drop that the verdict is about."""
        return {interval.dimension: interval for interval in forest.intervals(self.verdict)}

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Dimension -> the 95% bootstrap interval of its score, resampled as by the gate."""
        names = [score.dimension for score in self.measured.scorecard.scores]
        intervals = {name: _interval(self.measured, name) for name in names}
        return {name: interval for name, interval in intervals.items() if interval}


def _interval(measured: Evaluation, name: str) -> tuple[float, float] | None:
    table = measured.table(name)
    if table is None or not table.given.any():
        return None
    table = table.select(table.given)
    dimension = base.get(name, scoring=measured.scoring)
    weightings = resampling.weightings(table, seed=0, n=RESAMPLES)
    scores = [dimension.aggregate(table, weights).get("score") for weights in weightings]
    values = np.concatenate([np.empty(0), *(part for part in scores if part is not None)])
    if not np.isfinite(values).any():
        return None
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
