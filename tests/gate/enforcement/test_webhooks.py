"""Webhooks: each record arrives signed, and no receiver can hold up or fail a decision."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.gate.enforcement import webhooks
from comptrust.gate.signing import keys, revocation
from tests.support.enforcement.inprocess import a_pass, log, move, open_world, promote, refused
from tests.support.enforcement.server import serve
from tests.support.enforcement.world import BAD, World, write_key, write_policies

SECRET = "a long random text"


class Receiver:
    """A server that keeps what it is sent, after failing a few times or while it is slow."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.signatures: list[str] = []
        self.failures = 0
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.gate.wait(30)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.failures -= 1
                if receiver.failures < 0:
                    receiver.bodies.append(body)
                    receiver.signatures.append(self.headers[webhooks.HEADER])
                self.send_response(204 if receiver.failures < 0 else 503)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=t"

    def numbers(self, n: int) -> list[int]:
        """Wait for n records and return their numbers."""
        end = time.monotonic() + 30
        while len(self.bodies) < n and time.monotonic() < end:
            time.sleep(0.02)
        return [json.loads(body)["number"] for body in self.bodies]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    made = Receiver()
    monkeypatch.setattr(webhooks, "PAUSES", (0.0, 0.01))
    yield made
    made.gate.set()
    made.server.shutdown()


def test_each_record_arrives_in_order_and_signed(
    inside: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(webhooks.URLS, receiver.url)
    monkeypatch.setenv(webhooks.SECRET, SECRET)
    world = open_world(inside.folder)
    receiver.failures = 2  # the third try succeeds
    candidate, worse = a_pass(world), world.register(BAD)
    refused(promote, world, worse)
    move(world, candidate, "Production")
    move(world, candidate, "Archived")
    assert receiver.numbers(3) == [1, 2, 3]
    assert [json.loads(body) for body in receiver.bodies] == [
        line.model_dump(mode="json") for line in log(world).lines
    ]
    assert [line.decision for line in log(world).lines] == ["refused", "granted", "withdrawn"]
    for body, signature in zip(receiver.bodies, receiver.signatures, strict=True):
        expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert signature == f"sha256={expected}"


def test_a_slow_or_dead_receiver_delays_nothing_and_is_named(
    inside: World,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(webhooks, "MAX_WAITING", 1)
    monkeypatch.setenv(webhooks.URLS, f"{receiver.url} http://127.0.0.1:9/secret-path")
    monkeypatch.setenv(webhooks.SECRET, SECRET)
    world = open_world(inside.folder)
    receiver.gate.clear()
    worse = world.register(BAD)
    start = time.monotonic()
    for _ in range(5):
        refused(promote, world, worse)
    assert time.monotonic() - start < 10 and len(log(world).lines) == 5
    receiver.gate.set()
    end = time.monotonic() + 30
    while "ConnectError" not in caplog.text and time.monotonic() < end:
        time.sleep(0.02)
    assert "http://127.0.0.1 did not get record 1: ConnectError" in caplog.text
    assert "too many wait" in caplog.text
    assert "secret-path" not in caplog.text and "token" not in caplog.text


@pytest.mark.parametrize(
    ("urls", "environment", "says"),
    [
        (["ftp://a"], {webhooks.SECRET: "x"}, "is not an http"),
        (["https:///x"], {webhooks.SECRET: "x"}, "is not an http"),
        (["https://a/b c"], {webhooks.SECRET: "x"}, "is not an http"),
        (["https://a"], {}, webhooks.SECRET),
    ],
)
def test_what_is_no_webhook(urls: list[str], environment: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        webhooks.check(urls, environment)


@pytest.mark.slow
def test_the_command_takes_the_addresses(receiver: Receiver, tmp_path: Path) -> None:
    write_policies(tmp_path)
    write_key(tmp_path / "keys")
    options, variables = ("--webhook", receiver.url), {webhooks.SECRET: SECRET}
    for world in serve(tmp_path, with_auth=False, workers=1, options=options, variables=variables):
        refused(promote, world, world.register(BAD))
        assert receiver.numbers(1) == [1]
        [key] = keys.load_public_keys(tmp_path / "keys")
        revocation.revoke(tmp_path / "keys", key)
        for _ in range(2):  # the first request says it
            world.client.search_registered_models()
        assert receiver.numbers(2) == [1, 2]
    told = json.loads(receiver.bodies[1])
    assert (told["decision"], told["target"]) == ("revoked", key)
    assert json.loads(receiver.bodies[0])["decision"] == "refused"
    assert SECRET not in (tmp_path / "server.log").read_text()
