"""Asking a server: a real HTTP server that runs the tiny model answers as the model does here, and each failure says what to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from comptrust.errors import ServiceError, UserError
from comptrust.models.backends.hf import Hf
from comptrust.models.backends.openai import KEY, Openai
from comptrust.records import Choice, Message, Prompt, Sampling

Reply = tuple[int, Any]
CHOICES = tuple(Choice(text=text, continuation=f" {words}") for text, words in [("A", "yes"), ("B", "no way"), ("C", "maybe")])


def ask(role: str, content: str, **fields: Any) -> Prompt:
    return Prompt(id=content, dimension="ethics", scenario="s", messages=(Message(role=role, content=content),), **fields)


class Server:
    """Serves `reply(path, body) -> (status, JSON)`, and keeps what it was sent."""

    def __init__(self, reply: Callable[[str, dict[str, Any]], Reply]) -> None:
        self.sent: list[tuple[str, dict[str, Any], str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.sent.append((self.path, body, self.headers["Authorization"]))
                status, content = reply(self.path, body)
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers = []

    def start(reply: Callable[[str, dict[str, Any]], Reply]) -> Server:
        servers.append(Server(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def local(tiny_model: Path) -> Hf:
    return Hf(tiny_model)


def serving(model: Hf) -> Callable[[str, dict[str, Any]], Reply]:
    """Answer as an OpenAI-compatible server of this model does; one request computes at a time."""
    import torch

    lock = threading.Lock()

    def echo(text: str, index: int) -> dict[str, Any]:
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            chances = model.model(torch.tensor([ids])).logits[0].float().log_softmax(dim=-1)
        tokens = [model.tokenizer.decode([token]) for token in ids]
        logprobs = [None, *(chances[place, token].item() for place, token in enumerate(ids[1:]))]
        offsets = [sum(map(len, tokens[:place])) for place in range(len(tokens))]
        return {
            "index": index,
            "text": text,
            "finish_reason": "length",
            "logprobs": {"tokens": tokens, "token_logprobs": logprobs, "text_offset": offsets},
        }

    def generated(messages: list[dict[str, str]], body: dict[str, Any]) -> list[tuple[str, str]]:
        sampling = Sampling(**{name: body[name] for name in Sampling.model_fields})
        turns = tuple(Message(**message) for message in messages)
        [answer] = model.answer([Prompt(id=turns[-1].content, dimension="ethics", scenario="s", messages=turns, sampling=sampling)])
        return list(zip(answer.texts, answer.finish_reasons, strict=True))

    def reply(path: str, body: dict[str, Any]) -> Reply:
        with lock:
            if path == "/v1/chat/completions":
                found = enumerate(generated(body["messages"], body))
                chat = [{"index": index, "message": {"content": text}, "finish_reason": reason} for index, (text, reason) in found]
                return 200, {"choices": chat}
            if body.get("echo"):
                return 200, {"choices": [echo(text, index) for index, text in enumerate(body["prompt"])][::-1]}
            found = enumerate(generated([{"role": "completion", "content": body["prompt"]}], body))
            return 200, {"choices": [{"index": index, "text": text, "finish_reason": reason} for index, (text, reason) in found]}

    return reply


def test_a_served_model_answers_as_the_same_model_here(local: Hf, serve: Callable[..., Server]) -> None:
    server = serve(serving(local))
    free = (Message(role="completion", content="N/A"),)
    asked = [
        ask("user", "Hello?", sampling=Sampling(max_tokens=8)),
        ask("user", "Who?", sampling=Sampling(max_tokens=8, temperature=1.0, top_p=0.9, n=3, seed=1)),
        ask("completion", "Once", sampling=Sampling(max_tokens=8)),
        ask("completion", "Is it so", prefill="? Well,", choices=CHOICES),
        ask("completion", "Is it not", choices=CHOICES, content_free=free),
        ask("completion", "Is it ever", choices=CHOICES, content_free=free),
    ]
    expected = {answer.id: answer for answer in local.answer(asked)}
    answers = list(Openai("tiny", base_url=server.url, batch_size=3).answer(asked))
    assert [answer.id for answer in answers] == [prompt.id for prompt in asked]
    for answer in answers:
        other = expected[answer.id]
        assert (answer.texts, answer.finish_reasons) == (other.texts, other.finish_reasons), answer.id
        assert answer.extra.get("loglik", []) == pytest.approx(other.extra.get("loglik", []), abs=1e-4)
    assert {body["model"] for _, body, _ in server.sent} == {"tiny"}


def test_a_template_is_rendered_here(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "secret")
    server = serve(lambda path, body: (200, {"choices": [{"index": 0, "text": " Yes.", "finish_reason": "stop"}]}))
    backend = Openai("m", base_url=server.url, template="llama-2")
    [answer] = backend.answer([ask("user", "Hello?", prefill=" So")])
    [(path, body, authorization)] = server.sent
    assert (path, body["prompt"], authorization) == ("/v1/completions", "[INST] Hello? [/INST] So", "Bearer secret")
    assert (answer.texts, answer.finish_reasons) == ((" Yes.",), ("stop",))
    assert backend.describe() == {"backend": "openai", "template": "llama-2", "server": server.url, "model": "m"}


@pytest.mark.parametrize("fields", [{"choices": CHOICES}, {"prefill": "So"}])
def test_exact_text_needs_a_template(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"Give --template \(llama-2"):
        Openai("m", base_url="http://localhost/v1").render(ask("user", "Hello?", **fields))


def test_a_busy_server_is_asked_again(serve: Callable[..., Server]) -> None:
    answers = [(503, {}), (429, {}), (200, b"half an ans"), (200, {"choices": [{"index": 0, "message": {"content": "Yes."}}]})]
    server = serve(lambda path, body: answers[len(server.sent) - 1])
    [answer] = Openai("m", base_url=server.url, wait=0).answer([ask("user", "Hello?")])
    assert answer.texts == ("Yes.",) and len(server.sent) == 4


ECHOED = {"index": 0, "text": "Hello? yes", "logprobs": None}


@pytest.mark.parametrize(
    ("reply", "choices", "error", "message", "requests"),
    [
        ((500, {"error": "burning"}), (), ServiceError, r"does not answer \(HTTP 500: .*burning.*run again to go on", 2),
        ((400, {"error": "too long"}), (), ServiceError, r"HTTP 400: .*too long", 1),
        ((401, {}), (), UserError, rf"refuses model 'm' \(HTTP 401.*{KEY}", 1),
        ((404, {}), (), UserError, r"refuses model 'm' \(HTTP 404.*--base-url", 1),
        ((200, {"choices": []}), (), ServiceError, "0 choices instead of 1", 2),
        ((200, {"choices": [{"index": 0, "text": None}]}), (), ServiceError, "withheld an answer to prompt 'Hello", 1),
        ((200, {"choices": [{**ECHOED, "index": index} for index in range(3)]}), CHOICES, ServiceError, "cannot score options", 1),
    ],
)
def test_failures(
    serve: Callable[..., Server], reply: Reply, choices: tuple[Choice, ...], error: type[Exception], message: str, requests: int
) -> None:
    server = serve(lambda path, body: reply)
    backend = Openai("m", base_url=server.url, attempts=2, wait=0)
    with pytest.raises(error, match=message):
        list(backend.answer([ask("completion", "Hello?", choices=choices)]))
    assert len(server.sent) == requests


def test_a_server_that_ignores_the_echo_cannot_score(serve: Callable[..., Server]) -> None:
    logprobs = {"tokens": [" yes"], "token_logprobs": [-0.1], "text_offset": [0]}
    server = serve(lambda path, body: (200, {"choices": [{"index": index, "text": "?", "logprobs": logprobs} for index in range(3)]}))
    with pytest.raises(ServiceError, match="cannot score options"):
        list(Openai("m", base_url=server.url).answer([ask("completion", "Hello?", choices=CHOICES)]))


def test_nobody_there() -> None:
    with pytest.raises(ServiceError, match="does not answer"):
        list(Openai("m", base_url="http://127.0.0.1:9/v1", attempts=1).answer([ask("user", "Hello?")]))
    with pytest.raises(UserError, match="not an http"):
        Openai("m", base_url="localhost:8000")
    with pytest.raises(UserError, match="Did you mean 'llama-2'"):
        Openai("m", base_url="http://localhost/v1", template="llama2")
