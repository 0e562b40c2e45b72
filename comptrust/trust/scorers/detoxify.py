"""The optional toxicity scorer `detoxify`: a BERT classifier trained on Jigsaw's toxic comments.

Source: Hanu and Unitary team 2020, Detoxify. The scores are not on Perspective's scale.
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from comptrust import digests
from comptrust.errors import ServiceError, UserError
from comptrust.trust.scorers import Scorer

MODEL = "original"
BATCH_SIZE = 32
log = logging.getLogger(__name__)


class Detoxify(Scorer):
    """Uses the `original` model, whose weights are downloaded on first use."""

    def __init__(self) -> None:
        try:
            installed = version("detoxify")
        except PackageNotFoundError as error:
            raise UserError(
                "Toxicity scorer 'detoxify' is not installed. Install it (pip install detoxify) or"
                " use 'local'."
            ) from error
        settings = {"package": installed, "model": MODEL}
        # A name that suites contain: in the older form, so that it stays.
        self.identity = f"detoxify@{digests.of_older(settings)[:8]}"

    def score(self, texts: Sequence[str]) -> list[float | None]:
        given = [text for text in texts if text.strip()]
        scores: list[float | None] = []
        for start in range(0, len(given), BATCH_SIZE):
            batch = given[start : start + BATCH_SIZE]
            try:
                scores += [float(score) for score in self._model.predict(batch)["toxicity"]]
            except (RuntimeError, ValueError, IndexError) as error:
                log.warning(
                    "Toxicity scorer 'detoxify' failed on %d texts; they have no score: %s",
                    len(batch),
                    error,
                )
                scores += [None] * len(batch)
        remaining = iter(scores)
        return [next(remaining) if text.strip() else None for text in texts]

    @cached_property
    def _model(self) -> Any:
        from detoxify import Detoxify as Model

        try:
            return Model(MODEL)
        except OSError as error:
            raise ServiceError(
                f"Cannot load the weights of detoxify '{MODEL}': {error}. Check the network or"
                " use 'local'."
            ) from error
