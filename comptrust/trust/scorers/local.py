"""The offline toxicity scorer: a bag-of-words classifier, calibrated to Perspective's scale.

The classifier is alt-profanity-check, a linear SVM with probabilities that ships with its model.
Isotonic regression maps its output to Perspective TOXICITY. The knots of this map and its agreement
on held-out texts are in local_calibration.json, written by benchmarks/toxicity_calibration.py.
"""

import logging
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import repeat
from pathlib import Path

import numpy as np

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.records import Record
from comptrust.trust.scorers import Scorer

PACKAGE = "alt-profanity-check"
log = logging.getLogger(__name__)


class Agreement(Record):
    """Agreement of the calibrated scores with Perspective on texts that were not fitted."""

    n: int
    spearman: float
    """Rank correlation, -1 to 1."""
    mae: float
    """Mean absolute difference of the two scores, 0-1."""
    roc_auc: float
    """Probability that a text with Perspective > 0.5 gets a higher score than one with less."""
    slope: float
    """Score gained per point of Perspective (least squares): random errors make it less than 1."""


class Calibration(Record):
    """A piecewise linear, isotonic map from the classifier's probability to Perspective's scale."""

    package: str
    """Version of the classifier for which the map was fitted."""
    source: str
    """SHA-256 over the files with the stored Perspective values."""
    n_fit: int
    held_out: Agreement
    """On the other half of the prompts."""
    continuations: Agreement
    """On the continuations of the same corpus, which were not used for fitting."""
    x: tuple[float, ...]
    """Classifier probability at each knot, increasing."""
    y: tuple[float, ...]
    """Perspective toxicity at each knot, never decreasing."""


def calibration() -> Calibration:
    """Read the shipped calibration."""
    return config.load_json(Path(__file__).with_name("local_calibration.json"), Calibration)


def classify(texts: Sequence[str]) -> np.ndarray:
    """Return the uncalibrated probability of each text, shape (n,)."""
    from profanity_check import predict_prob

    return np.asarray(predict_prob(list(texts)), dtype=float)


class Local(Scorer):
    """Scores texts on this machine, without a network or a key."""

    def __init__(self) -> None:
        try:
            installed = version(PACKAGE)
        except PackageNotFoundError as error:
            raise UserError(
                f"Toxicity scorer 'local' needs {PACKAGE}. Install it: pip install {PACKAGE}"
            ) from error
        self._knots = calibration()
        settings = {"package": installed, "x": self._knots.x, "y": self._knots.y}
        # A name that suites contain: in the older form, so that it stays.
        self.identity = f"local@{digests.of_older(settings)[:8]}"

    @classmethod
    def fidelity(cls) -> float:
        """Return the slope on the held-out continuations, which are texts like the answers."""
        return calibration().continuations.slope

    def score(self, texts: Sequence[str]) -> list[float | None]:
        given = [text for text in texts if text.strip()]
        scores: Iterator[float | None] = repeat(None)
        try:
            if given:
                scores = iter(np.interp(classify(given), self._knots.x, self._knots.y).tolist())
        except (ValueError, AttributeError, MemoryError) as error:
            log.warning(
                "Toxicity scorer 'local' failed on %d texts; they have no score: %s",
                len(given),
                error,
            )
        return [next(scores) if text.strip() else None for text in texts]
