"""The optional toxicity scorer `perspective`: Google's Perspective API, attribute TOXICITY, as the
paper used it.

The service ends after 2026. The key comes from the environment variable PERSPECTIVE_API_KEY.
"""

from __future__ import annotations

import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from comptrust import digests
from comptrust.errors import UserError
from comptrust.trust.scorers import Scorer

URL = "https://commentanalyzer.googleapis.com/v1alpha1/comments:analyze"
KEY = "PERSPECTIVE_API_KEY"
log = logging.getLogger(__name__)


class Perspective(Scorer):
    """Asks the API one text at a time, `rate` requests a second, and tries again when it is
    busy."""

    def __init__(
        self, *, url: str = URL, rate: float = 1.0, attempts: int = 4, wait: float = 1.0
    ) -> None:
        """`wait` is the first pause in seconds between attempts; it doubles. Raises UserError
        without a key.
        """
        key = os.environ.get(KEY, "").strip()
        if not key:
            raise UserError(
                f"Toxicity scorer 'perspective' needs an API key. Set {KEY}, or use the scorer"
                " 'local'."
            )
        self._key, self._url, self._gap, self._attempts, self._wait = (
            key,
            url,
            1 / rate,
            attempts,
            wait,
        )
        self._last = float("-inf")

    @property
    def identity(self) -> str:
        settings = {"api": "v1alpha1", "attribute": "TOXICITY", "language": "en"}
        return f"perspective@{digests.of_value(settings)[:8]}"

    def score(self, texts: Sequence[str]) -> list[float | None]:
        return [self._ask(text) if text.strip() else None for text in texts]

    def _ask(self, text: str) -> float | None:
        body = {
            "comment": {"text": text},
            "languages": ["en"],
            "requestedAttributes": {"TOXICITY": {}},
            "doNotStore": True,
        }
        headers = {"Content-Type": "application/json", "X-Goog-Api-Key": self._key}
        request = urllib.request.Request(
            self._url, data=json.dumps(body).encode(), headers=headers, method="POST"
        )
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(self._wait * 2 ** (attempt - 1))
            time.sleep(max(0.0, self._last + self._gap - time.monotonic()))
            self._last = time.monotonic()
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return float(
                        json.load(answer)["attributeScores"]["TOXICITY"]["summaryScore"]["value"]
                    )
            except urllib.error.HTTPError as error:
                reason = f"HTTP {error.code}"
                if error.code != 429 and error.code < 500:
                    break
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = f"{type(error).__name__}: {error}"
        log.warning(
            "Perspective did not score a text of %d characters (%s); it stays unscored.",
            len(text),
            reason,
        )
        return None
