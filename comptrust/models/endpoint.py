"""A client of one server with the OpenAI API: requests with retries, and the server's version."""

import email.utils
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx

from comptrust.errors import ServiceError, UserError
from comptrust.records import NOT_TOLD

KEY = "OPENAI_API_KEY"
"""Environment variable with the API key."""
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 600.0
MAX_PAUSE_SECONDS = 30.0
BEYOND_WINDOW = ("maximum context length", "context_length_exceeded", "exceed_context_size")
"""What vLLM, OpenAI and llama.cpp say of a prompt that is longer than the context window."""
RETRYABLE_STATUS = (408, 409, 425, 429)
"""HTTP status codes below 500 after which the same request may succeed later."""


class Refused(ServiceError):
    """The server rejected a request for good: trying again would not help."""


class BeyondWindow(ServiceError):
    """The server rejected a prompt because it does not fit the model's context window."""


class Endpoint:
    """Posts to `url`. The API key comes from the environment and never appears in a message."""

    def __init__(
        self, url: str, *, patience: float, pause: float = 1.0, gone: Callable[[], str] = str
    ) -> None:
        """Set up a client; nothing is sent yet.

        `patience` is how many seconds a request may spend, in all, waiting between tries; `pause`
        is the first wait, which then doubles. `gone` tells why the server is no more, so that it is
        not waited for; empty if it may answer. Raises UserError for a URL that is not http(s) or
        contains a secret.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(
                f"Base URL '{url}' is not an http(s) address. Give the API's root, such as"
                " http://localhost:8000/v1."
            )
        if parts.username or parts.password or parts.query:
            raise UserError(
                "The base URL contains a name, a password or a query, which would be recorded. Put"
                f" the key in {KEY} instead."
            )
        self.url = url.rstrip("/")
        self._patience, self._pause, self._gone = patience, pause, gone
        self._key = os.environ.get(KEY, "").strip()
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )
        self.given_up = threading.Event()
        """Once it is set, every request that is waiting for its next try fails."""

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON object that answers one request.

        If the server is busy, failing or unreachable, the request is sent again. Raises UserError
        if key, URL or model are wrong, BeyondWindow or Refused if the server rejects the request
        otherwise, and ServiceError if it still has not answered when patience runs out.
        """
        waited, pause = 0.0, self._pause
        while True:
            try:
                response = self._client.post(f"{self.url}/{path}", json=body)
                if response.is_success:
                    answer = response.json()
                    if isinstance(answer, dict):
                        return answer
                    raise ValueError("the answer is not a JSON object")
                status = response.status_code
                reason = f"HTTP {status}: {self._clean(response.text)}"
                if status in (401, 403, 404):
                    raise UserError(
                        f"{self.url}/{path} refuses model '{body.get('model')}' ({reason}). Check"
                        f" the base URL, the model's name and {KEY}."
                    )
                if status not in RETRYABLE_STATUS and status < 500:
                    if any(phrase in reason for phrase in BEYOND_WINDOW):
                        raise BeyondWindow(f"{self.url}/{path} refuses the request ({reason}).")
                    raise Refused(f"{self.url}/{path} refuses the request ({reason}).")
                requested = _retry_after(response.headers.get("Retry-After", ""))
            except (httpx.HTTPError, ValueError) as error:
                reason, requested = self._clean(f"{type(error).__name__}: {error}"), None
            if why := self._gone():
                raise ServiceError(f"{why} Answers so far have been kept; run again to continue.")
            # a random share, so that requests that failed together do not return together
            wait = pause * random.uniform(0.75, 1.25) if requested is None else requested
            if waited + wait > self._patience or self.given_up.wait(wait):
                raise ServiceError(
                    f"{self.url}/{path} does not answer ({reason}). Answers so far have been kept;"
                    " run again to continue."
                )
            waited, pause = waited + wait, min(2 * pause, MAX_PAUSE_SECONDS)

    def about(self, model: str) -> dict[str, str]:
        """Return `served_model` and `server_version`; `not told` where the server does not say.

        vLLM, llama.cpp and TGI say both. Raises ServiceError if no server answers.
        """
        entry = self._entry(model)
        return {
            "served_model": str(entry.get("root") or entry.get("id") or NOT_TOLD),
            "server_version": self._version(str(entry.get("owned_by") or "server")),
        }

    def window(self, model: str) -> int:
        """Return the tokens of the model's context window, 0 if the server does not say.

        vLLM says. Raises ServiceError if no server answers.
        """
        window = self._entry(model).get("max_model_len")
        return window if isinstance(window, int) else 0

    def _entry(self, model: str) -> dict[str, Any]:
        models = self._get(f"{self.url}/models").get("data") or []
        entries = (entry for entry in models if isinstance(entry, dict))
        return next((entry for entry in entries if entry.get("id") == model), {})

    def _version(self, owner: str) -> str:
        for path, field in (("version", "version"), ("props", "build_info"), ("info", "version")):
            about = self._get(f"{self.url.removesuffix('/v1')}/{path}")
            if isinstance(about.get(field), str):
                return f"{owner} {about[field]}"
        return NOT_TOLD

    def _get(self, url: str) -> dict[str, Any]:
        """Return the JSON object at a URL, empty if there is none."""
        try:
            # a new connection: some servers close it after an error without saying so
            response = self._client.get(
                url, timeout=CONNECT_SECONDS, headers={"Connection": "close"}
            )
            answer = response.json() if response.is_success else {}
        except ValueError:
            return {}
        except httpx.HTTPError as error:
            reason = self._clean(f"{type(error).__name__}: {error}")
            raise ServiceError(
                f"{self.url} does not answer ({reason}). Start the server, or correct the base URL."
            ) from error
        return answer if isinstance(answer, dict) else {}

    def _clean(self, text: str) -> str:
        """Return one short line without the key, which some servers echo."""
        line = " ".join(text.split())
        return (line.replace(self._key, "***") if self._key else line)[:200]


def _retry_after(value: str) -> float | None:
    """Return the seconds that a Retry-After header states, as a number or a date; None if none."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
