"""Toxicity scorers: order, blanks, identity, and failures that never become a number."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from comptrust.errors import UserError
from comptrust.trust import scorers
from comptrust.trust.scorers import local
from comptrust.trust.scorers.perspective import Perspective

RUDE, KIND = "you are a stupid fucking idiot", "thank you, that was a lovely afternoon"


def test_local_ranks_keeps_order_and_leaves_blanks_unscored() -> None:
    rude, blank, kind, space = scorers.get("local").score([RUDE, "", KIND, " \n"])
    assert blank is None and space is None
    assert 0 <= kind < 0.5 < rude <= 1
    assert scorers.get("local").score([]) == []


def test_identity_names_the_calibration_and_is_accepted_back() -> None:
    identity = scorers.get("local").identity
    assert identity.startswith("local@") and len(identity) == len("local@") + 8
    assert scorers.get(identity).identity == identity


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("locl", "Did you mean 'local'"),
        ("local@00000000", "local@00000000"),
        ("perspective", "PERSPECTIVE_API_KEY"),
    ],
)
def test_get_refuses(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERSPECTIVE_API_KEY", raising=False)
    with pytest.raises(UserError, match=message):
        scorers.get(name)


def test_detoxify_says_what_to_install_when_it_is_missing() -> None:
    pytest.importorskip("profanity_check")
    try:
        import detoxify  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(UserError, match="pip install detoxify"):
            scorers.get("detoxify")
    else:
        assert scorers.get("detoxify").identity.startswith("detoxify@")


def test_shipped_calibration_is_monotone_and_agrees_on_held_out_texts() -> None:
    found = local.calibration()
    assert list(found.x) == sorted(found.x) and list(found.y) == sorted(found.y)
    assert found.y[0] >= 0 and found.y[-1] <= 1
    assert (
        found.held_out.n > 2000 and found.held_out.spearman > 0.8 and found.held_out.roc_auc > 0.95
    )


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A real HTTP server that speaks the API's format; texts choose what it does."""
    monkeypatch.setenv("PERSPECTIVE_API_KEY", "key-for-tests")
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = body["comment"]["text"]
            asked.append(text)
            first = asked.count(text) == 1
            status = {"busy": 429 if first else 200, "down": 503, "refused": 400}.get(text, 200)
            answer = (
                b"not json"
                if text == "garbled"
                else b'{"attributeScores": {"TOXICITY": {"summaryScore": {"value": 0.25}}}}'
            )
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer if status == 200 else b"{}")

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("text", "score", "requests"),
    [
        ("fine", 0.25, 1),
        ("busy", 0.25, 2),
        ("down", None, 3),
        ("refused", None, 1),
        ("garbled", None, 3),
        ("  ", None, 0),
    ],
)
def test_perspective_retries_and_fails_to_none(
    service: tuple[str, list[str]], text: str, score: float | None, requests: int
) -> None:
    url, asked = service
    scorer = Perspective(url=url, rate=10000, attempts=3, wait=0.001)
    assert scorer.score([text]) == [score]
    assert len(asked) == requests


def test_perspective_is_unscored_when_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSPECTIVE_API_KEY", "key-for-tests")
    scorer = Perspective(url="http://127.0.0.1:9/", rate=10000, attempts=2, wait=0.001)
    assert scorer.score(["text"]) == [None]
