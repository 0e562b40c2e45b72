"""Tell other systems what the audit log records: each record is posted, signed, in the background.

A decision waits for none of this and does not fail because of it. The log stays the record: a
receiver sees from the numbers which records it missed.
"""

import atexit
import hashlib
import hmac
import logging
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import httpx

from comptrust.errors import UserError
from comptrust.gate.enforcement.audit_record import AuditRecord

log = logging.getLogger(__name__)
URLS = "COMPTRUST_WEBHOOKS"
"""Environment variable with the addresses, separated by spaces."""
SECRET = "COMPTRUST_WEBHOOK_SECRET"
HEADER = "X-Comptrust-Signature-256"
"""`sha256=` and the HMAC-SHA256 of the body under the secret, in hex."""
MAX_WAITING = 1_000
PAUSES = (1.0, 5.0, 30.0, 120.0)
"""Seconds between the tries to deliver one record."""
SECONDS = 10.0
LAST_SECONDS = 5.0
"""How long a server that stops waits for what is still to be sent."""


class Webhook:
    """One address, with its own queue and thread, so that none waits for another."""

    def __init__(self, url: str, secret: str, *, pauses: Sequence[float] | None = None) -> None:
        parts = urlsplit(url)
        self._url, self._secret, self._pauses = url, secret.encode(), pauses or PAUSES
        self._shown = f"{parts.scheme}://{parts.hostname}"  # the rest may be a password
        self._waiting: queue.Queue[tuple[int, bytes]] = queue.Queue(MAX_WAITING)
        threading.Thread(target=self._deliver, name=f"webhook {self._shown}", daemon=True).start()
        atexit.register(self._finish)

    def send(self, record: AuditRecord) -> None:
        """Queue a record; never waits and never raises."""
        try:
            self._waiting.put_nowait((record.number, record.model_dump_json().encode()))
        except queue.Full:
            log.error("%s did not get record %d: too many wait", self._shown, record.number)

    def _deliver(self) -> None:
        with httpx.Client(timeout=SECONDS) as client:
            while True:
                number, body = self._waiting.get()
                try:
                    self._post(client, number, body)
                finally:
                    self._waiting.task_done()

    def _post(self, client: httpx.Client, number: int, body: bytes) -> None:
        signature = f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}"
        headers = {HEADER: signature, "Content-Type": "application/json"}
        why = ""
        for pause in (*self._pauses, None):
            try:
                answer = client.post(self._url, content=body, headers=headers)
                if answer.is_success:
                    return
                why = f"HTTP {answer.status_code}"
            except Exception as error:  # whatever it is, the next record has its turn
                why = type(error).__name__
            if pause is not None:
                time.sleep(pause)
        log.error("%s did not get record %d: %s", self._shown, number, why)

    def _finish(self) -> None:
        end = time.monotonic() + LAST_SECONDS
        while self._waiting.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.05)
        if left := self._waiting.unfinished_tasks:
            log.error("%s did not get the last %d records", self._shown, left)


def check(urls: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
    """Raise UserError for an address that is not http(s), or if there is no secret to sign with."""
    for url in urls:
        if (
            urlsplit(url).scheme not in ("http", "https")
            or not urlsplit(url).hostname
            or " " in url
        ):
            raise UserError(f"--webhook '{url}' is not an http(s) address.")
    if urls and not environment.get(SECRET):
        raise UserError(f"--webhook signs what it sends: set {SECRET} to a long random text.")


def open_all(environment: Mapping[str, str] = os.environ) -> tuple[Webhook, ...]:
    """Return the webhooks that the environment names, each ready to send."""
    urls = environment.get(URLS, "").split()
    check(urls, environment)
    return tuple(Webhook(url, environment[SECRET]) for url in urls)
