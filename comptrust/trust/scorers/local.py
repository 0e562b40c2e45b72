"""The offline toxicity scorer: a bag-of-words classifier, calibrated to the scale of Perspective
values.

The classifier is alt-profanity-check (a linear SVM with probabilities, shipped with its model). Its
output is mapped by isotonic regression onto Perspective TOXICITY; the knots and the agreement on
held-out texts are in local_calibration.json, written by benchmarks/toxicity_calibration.py.
"""

from __future__ import annotations

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
    """How far the calibrated scores agree with Perspective on texts that were not fitted."""

    n: int
    spearman: float
    """Rank correlation, -1 to 1."""
    mae: float
    """Mean absolute difference of the two toxicities, 0-1."""
    roc_auc: float
    """Chance that a text with Perspective > 0.5 outranks one with less."""


class Calibration(Record):
    """The isotonic map from the classifier's probability to Perspective's scale, piecewise
    linear."""

    package: str
    """Version of the classifier that the map was fitted for."""
    source: str
    """SHA-256 over the files that the stored Perspective values came from."""
    n_fit: int
    held_out: Agreement
    """On the other half of the prompts."""
    continuations: Agreement
    """On the continuations of the same corpus, none of which was fitted."""
    x: tuple[float, ...]
    """Knots: classifier probability, rising."""
    y: tuple[float, ...]
    """Perspective toxicity at each knot, never falling."""


def calibration() -> Calibration:
    """Read the shipped calibration."""
    path = files("comptrust.trust.scorers") / "local_calibration.json"
    return Calibration.model_validate_json(path.read_text(encoding="utf-8"))


def classify(texts: Sequence[str]) -> np.ndarray:
    """Return the uncalibrated probability of each text, shape (n,). Raises UserError if the package
    is missing.
    """
    try:
        from profanity_check import predict_prob
    except ModuleNotFoundError as error:
        raise UserError(
            f"Toxicity scorer 'local' needs {PACKAGE}. Install it: pip install {PACKAGE}"
        ) from error
    return np.asarray(predict_prob(list(texts)), dtype=float)


class Local(Scorer):
    """Scores texts on this machine, without network or key."""

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
        asked = [index for index, text in enumerate(texts) if text.strip()]
        if not asked:
            return scores
        try:
            found = np.interp(
                classify([texts[index] for index in asked]),
                self._calibration.x,
                self._calibration.y,
            )
        except (ValueError, AttributeError, MemoryError) as error:
            log.warning(
                "Toxicity scorer 'local' failed on %d texts, which stay unscored: %s",
                len(asked),
                error,
            )
            return scores
        for index, value in zip(asked, found, strict=True):
            scores[index] = float(value)
        return scores
