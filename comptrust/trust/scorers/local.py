"""The offline toxicity scorer: a bag-of-words classifier, calibrated to Perspective's scale.

The classifier is alt-profanity-check, a linear SVM with probabilities that ships with its model.
Isotonic regression maps its output to Perspective TOXICITY. The knots of this map and its agreement
on held-out texts are in local_calibration.json, written by benchmarks/toxicity_calibration.py.
"""

import logging
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files

import numpy as np

from comptrust import digests
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
    path = files("comptrust.trust.scorers") / "local_calibration.json"
    return Calibration.model_validate_json(path.read_text(encoding="utf-8"))


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
        self._calibration = calibration()
        self._digest = digests.of_value(
            {"package": installed, "x": self._calibration.x, "y": self._calibration.y}
        )

    @property
    def identity(self) -> str:
        return f"local@{self._digest[:8]}"

    def score(self, texts: Sequence[str]) -> list[float | None]:
        scores: list[float | None] = [None] * len(texts)
        indices = [index for index, text in enumerate(texts) if text.strip()]
        if not indices:
            return scores
        try:
            probabilities = classify([texts[index] for index in indices])
            values = np.interp(probabilities, self._calibration.x, self._calibration.y)
        except (ValueError, AttributeError, MemoryError) as error:
            log.warning(
                "Toxicity scorer 'local' failed on %d texts; they have no score: %s",
                len(indices),
                error,
            )
            return scores
        for index, value in zip(indices, values, strict=True):
            scores[index] = float(value)
        return scores
