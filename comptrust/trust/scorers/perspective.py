"""The optional toxicity scorer `perspective`: TOXICITY of Google's Perspective API, as published.

The service ends after 2026. It needs a key in the environment variable PERSPECTIVE_API_KEY.
"""

import logging
import os
import time
from collections.abc import Sequence

import httpx

from comptrust import digests
from comptrust.errors import UserError
from comptrust.trust.scorers import Scorer

URL = "https://commentanalyzer.googleapis.com/v1alpha1/comments:analyze"
KEY = "PERSPECTIVE_API_KEY"
TIMEOUT_S = 30
log = logging.getLogger(__name__)


class Perspective(Scorer):
    """Sends texts to the API one at a time, `rate` per second, and retries when it is busy."""

    def __init__(
        self, *, url: str = URL, rate: float = 1.0, attempts: int = 4, wait: float = 1.0
    ) -> None:
        """Set up the client; `wait` seconds, doubled each time, come before another attempt."""
        key = os.environ.get(KEY, "").strip()
        if not key:
            raise UserError(
                f"Toxicity scorer 'perspective' needs an API key. Set {KEY} or use the scorer"
                " 'local'."
            )
        self._key, self._url = key, url
        self._gap, self._attempts, self._wait = 1 / rate, attempts, wait
        self._last_request = float("-inf")
        settings = {"api": "v1alpha1", "attribute": "TOXICITY", "language": "en"}
        # A name that suites contain: in the older form, so that it stays.
        self.identity = f"perspective@{digests.of_older(settings)[:8]}"

    def score(self, texts: Sequence[str]) -> list[float | None]:
        return [self._ask(text) if text.strip() else None for text in texts]

    def _ask(self, text: str) -> float | None:
        body = {
            "comment": {"text": text},
            "languages": ["en"],
            "requestedAttributes": {"TOXICITY": {}},
            "doNotStore": True,
        }
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(self._wait * 2 ** (attempt - 1))
            time.sleep(max(0.0, self._last_request + self._gap - time.monotonic()))
            self._last_request = time.monotonic()
            try:
                response = httpx.post(
                    self._url, json=body, headers={"X-Goog-Api-Key": self._key}, timeout=TIMEOUT_S
                )
                scores = response.raise_for_status().json()["attributeScores"]
                return float(scores["TOXICITY"]["summaryScore"]["value"])
            except httpx.HTTPStatusError as error:
                reason = f"HTTP {error.response.status_code}"
                if error.response.status_code != 429 and error.response.status_code < 500:
                    break  # the request itself is at fault
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                reason = f"{type(error).__name__}: {error}"
        log.warning(
            "Perspective did not score a text of %d characters (%s); it has no score.",
            len(text),
            reason,
        )
        return None
