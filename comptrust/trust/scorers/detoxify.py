"""The optional toxicity scorer `detoxify`: a BERT classifier trained on Jigsaw's toxic comments.

Source: Hanu and Unitary team 2020, Detoxify. The scores are not on Perspective's scale.
"""

import logging
from collections.abc import Sequence
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
        self._digest = digests.of_value({"package": installed, "model": MODEL})
        self._model: Any = None

    @property
    def identity(self) -> str:
        return f"detoxify@{self._digest[:8]}"

    def score(self, texts: Sequence[str]) -> list[float | None]:
        scores: list[float | None] = [None] * len(texts)
        indices = [index for index, text in enumerate(texts) if text.strip()]
        for start in range(0, len(indices), BATCH_SIZE):
            batch = indices[start : start + BATCH_SIZE]
            try:
                values = self._load().predict([texts[index] for index in batch])["toxicity"]
            except (RuntimeError, ValueError, IndexError) as error:
                log.warning(
                    "Toxicity scorer 'detoxify' failed on %d texts; they have no score: %s",
                    len(batch),
                    error,
                )
                continue
            for index, value in zip(batch, values, strict=True):
                scores[index] = float(value)
        return scores

    def _load(self) -> Any:
        if self._model is None:
            from detoxify import Detoxify as Model

            try:
                self._model = Model(MODEL)
            except OSError as error:
                raise ServiceError(
                    f"Cannot load the weights of detoxify '{MODEL}': {error}. Check the network or"
                    " use 'local'."
                ) from error
        return self._model
