"""One server that speaks the OpenAI API: requests that are tried again where that helps, and what
the server says of itself.
"""

from __future__ import annotations

import email.utils
import os
import random
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from comptrust.errors import ServiceError, UserError

KEY = "OPENAI_API_KEY"
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 600.0
LONGEST_PAUSE = 30.0
AGAIN = (408, 409, 425, 429)
"""HTTP codes below 500 after which the same request may succeed later."""


class Refused(ServiceError):
    """The server understood the request and will never answer it."""


class Endpoint:
    """Posts to `url`; the key comes from the environment alone and is in no message."""

    def __init__(self, url: str, *, patience: float, pause: float = 1.0) -> None:
        """`patience`: seconds that one request may wait, in all, for a busy or silent server;
        `pause`: the first wait, which doubles.

        Raises UserError for a URL that is not http(s) or holds a secret.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(
                f"Base URL '{url}' is not an http(s) address. Give the API's root, such as"
                " http://localhost:8000/v1."
            )
        if parts.username or parts.password or parts.query:
            raise UserError(
                "The base URL holds a name, a password or a query, which would be recorded. Put"
                f" the key in {KEY} instead."
            )
        self.url = url.rstrip("/")
        self._patience, self._pause = patience, pause
        self._key = os.environ.get(KEY, "").strip()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(
            headers=headers, timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        )
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Let every request that waits for its next try fail now."""
        self._given_up.set()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON object of one request; a busy, failing or unreachable server is asked
        again.

        Raises UserError where key, URL or model are wrong, Refused for any other refusal,
        ServiceError when patience is at its end.
        """
        waited, pause = 0.0, self._pause
        while True:
            try:
                answer = self._client.post(f"{self.url}/{path}", json=body)
                if answer.is_success:
                    found = answer.json()
                    if isinstance(found, dict):
                        return found
                    raise ValueError("the answer is not a JSON object")
                reason = f"HTTP {answer.status_code}: {self._clean(answer.text)}"
                if answer.status_code in (401, 403, 404):
                    raise UserError(
                        f"{self.url}/{path} refuses model '{body.get('model')}' ({reason}). Check"
                        f" --base-url, model and {KEY}."
                    )
                if answer.status_code not in AGAIN and answer.status_code < 500:
                    raise Refused(f"{self.url}/{path} refuses the request ({reason}).")
                wanted = _retry_after(answer.headers.get("Retry-After"))
            except (httpx.HTTPError, ValueError) as error:
                reason, wanted = self._clean(f"{type(error).__name__}: {error}"), None
            wait = (
                wanted if wanted is not None else pause * random.uniform(0.75, 1.25)
            )  # so that requests do not come back all at once
            if waited + wait > self._patience or self._given_up.wait(wait):
                raise ServiceError(
                    f"{self.url}/{path} does not answer ({reason}). What was answered is kept; run"
                    " again to go on."
                )
            waited, pause = waited + wait, min(2 * pause, LONGEST_PAUSE)

    def about(self, model: str) -> dict[str, str]:
        """Return `served_model` and `server_version` as far as the server tells; vLLM, llama.cpp
        and TGI do, others do not.

        Raises ServiceError if nobody is there.
        """
        listed = self._get(f"{self.url}/models")
        rows = listed.get("data") if isinstance(listed, dict) else None
        own = next(
            (row for row in rows or [] if isinstance(row, dict) and row.get("id") == model), {}
        )
        served = own.get("root") or own.get("id") or "not told"
        return {
            "served_model": str(served),
            "server_version": self._version(str(own.get("owned_by") or "server")),
        }

    def _version(self, owner: str) -> str:
        root = self.url.removesuffix("/v1")
        for path, field in (("version", "version"), ("props", "build_info"), ("info", "version")):
            found = self._get(f"{root}/{path}")
            if isinstance(found, dict) and isinstance(found.get(field), str):
                return f"{owner} {found[field]}"
        return "not told"

    def _get(self, url: str) -> Any:
        try:
            # a connection of its own: some servers close it after an error without saying so
            answer = self._client.get(url, timeout=CONNECT_SECONDS, headers={"Connection": "close"})
            return answer.json() if answer.is_success else None
        except ValueError:
            return None
        except httpx.HTTPError as error:
            reason = self._clean(f"{type(error).__name__}: {error}")
            raise ServiceError(
                f"{self.url} does not answer ({reason}). Start the server, or correct --base-url."
            ) from error

    def _clean(self, text: str) -> str:
        """Return one short line without the key, which some servers repeat."""
        line = " ".join(text.split())
        return (line.replace(self._key, "***") if self._key else line)[:200]


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as a number or a date; None if
    it does not say.
    """
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
