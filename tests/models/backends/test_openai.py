"""Asking a server: a real HTTP server that runs the tiny model answers as the model does here, and
each failure says what to do.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from comptrust.errors import ServiceError, UserError
from comptrust.gate.evidence import Evidence
from comptrust.gate.rules.answered import Answered
from comptrust.gate.rules.complete import Complete
from comptrust.models.backends.hf import Hf
from comptrust.models.backends.openai import Openai
from comptrust.models.endpoint import KEY
from comptrust.records import Choice, Message, Prompt, Sampling, Suite
from comptrust.trust import scorers
from comptrust.trust.run import evaluate

Reply = tuple[int, Any]
CHOICES = tuple(
    Choice(text=text, continuation=f" {words}")
    for text, words in [("A", "yes"), ("B", "no way"), ("C", "maybe")]
)


def ask(role: str, content: str, **fields: Any) -> Prompt:
    return Prompt(
        id=content,
        dimension="ethics",
        scenario="s",
        messages=(Message(role=role, content=content),),
        **fields,
    )


class Server:
    """Serves `reply(path, body) -> (status, JSON)` and `about`, path -> reply to GET, and keeps
    what it was sent.
    """

    def __init__(
        self, reply: Callable[[str, dict[str, Any]], Reply], about: dict[str, Reply]
    ) -> None:
        self.sent: list[tuple[str, dict[str, Any], str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.sent.append((self.path, body, self.headers["Authorization"]))
                self.answer(*reply(self.path, body))

            def do_GET(self) -> None:
                self.answer(*about.get(self.path, (404, {})))

            def answer(self, status: int, content: Any) -> None:
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", "0")
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

    def start(
        reply: Callable[[str, dict[str, Any]], Reply], about: dict[str, Reply] | None = None
    ) -> Server:
        servers.append(Server(reply, about or {}))
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

    def next_tokens(row: list[int], index: int, tokens: list[int]) -> dict[str, Any]:
        with torch.inference_mode():
            chances = model.model(torch.tensor([row])).logits[0, -1].float().log_softmax(dim=-1)
        top = {f"token_id:{token}": chances[token].item() for token in tokens}
        return {"index": index, "text": "", "logprobs": {"top_logprobs": [top]}}

    def generated(messages: list[dict[str, str]], body: dict[str, Any]) -> list[tuple[str, str]]:
        sampling = Sampling(
            **{name: body[name] for name in Sampling.model_fields if name != "seed"}
        )
        turns = tuple(Message(**message) for message in messages)
        [answer] = model.answer(
            [
                Prompt(
                    id=turns[-1].content,
                    dimension="ethics",
                    scenario="s",
                    messages=turns,
                    sampling=sampling,
                )
            ]
        )
        return list(zip(answer.texts, answer.finish_reasons, strict=True))

    def reply(path: str, body: dict[str, Any]) -> Reply:
        with lock:
            if path == "/v1/chat/completions":
                found = enumerate(generated(body["messages"], body))
                chat = [
                    {"index": index, "message": {"content": text}, "finish_reason": reason}
                    for index, (text, reason) in found
                ]
                return 200, {"choices": chat}
            if tokens := body.get("logprob_token_ids"):
                rows = enumerate(body["prompt"])
                return 200, {"choices": [next_tokens(row, place, tokens) for place, row in rows]}
            if body.get("echo"):
                return 200, {
                    "choices": [echo(text, index) for index, text in enumerate(body["prompt"])][
                        ::-1
                    ]
                }
            found = enumerate(generated([{"role": "completion", "content": body["prompt"]}], body))
            return 200, {
                "choices": [
                    {"index": index, "text": text, "finish_reason": reason}
                    for index, (text, reason) in found
                ]
            }

    return reply


def asked() -> list[Prompt]:
    free = (Message(role="completion", content="N/A"),)
    return [
        ask("user", "Hello?", sampling=Sampling(max_tokens=8)),
        ask("completion", "Once", sampling=Sampling(max_tokens=8)),
        ask("user", "Is it so", prefill="Well,", choices=CHOICES),
        ask("completion", "Is it not", choices=CHOICES, reference=free),
        ask("completion", "Is it ever", choices=CHOICES, reference=free),
    ]


@pytest.mark.parametrize("settings", [{"tokenizer": True}, {"template": "chatml"}], ids=str)
def test_a_served_model_answers_as_the_same_model_here(
    local: Hf, serve: Callable[..., Server], settings: dict[str, Any]
) -> None:
    server = serve(serving(local))
    if "tokenizer" in settings:
        settings = {"tokenizer": local.tokenizer}
    backend = Openai("tiny", base_url=server.url, batch_size=3, **settings)
    expected = {answer.id: answer for answer in local.answer(asked())}
    answers = {answer.id: answer for answer in backend.answer(asked())}
    assert answers.keys() == expected.keys()
    for prompt in asked():
        assert backend.render(prompt) == local.render(prompt)
        mine, other = answers[prompt.id], expected[prompt.id]
        assert (mine.texts, mine.finish_reasons) == (other.texts, other.finish_reasons), prompt.id
        assert mine.extra.get("loglik", []) == pytest.approx(
            other.extra.get("loglik", []), abs=1e-4
        )
    assert {path for path, _, _ in server.sent} == {"/v1/completions"}
    assert len(server.sent) == len(asked()) + 1, "the reference is asked once"


VLLM = {
    "/v1/models": (200, {"data": [{"id": "tiny", "owned_by": "vllm"}]}),
    "/version": (200, {"version": "0.32.0"}),
}


def test_vllm_is_asked_for_single_tokens_after_the_text(
    local: Hf, serve: Callable[..., Server]
) -> None:
    server = serve(serving(local), VLLM)
    backend = Openai("tiny", base_url=server.url, tokenizer=local.tokenizer, batch_size=1)
    prompts = [prompt for prompt in asked() if prompt.choices]
    expected = {answer.id: answer.extra["loglik"] for answer in local.answer(prompts)}
    for answer in backend.answer(prompts):
        assert answer.extra["loglik"] == pytest.approx(expected[answer.id], abs=1e-4)
    bodies = [body for _, body, _ in server.sent]
    assert [bool(body.get("echo")) for body in bodies] == [True, False, False, False, False], (
        "the first text is scored in both ways"
    )
    [row] = [body for body in bodies if len(body.get("logprob_token_ids", ())) == 0]
    assert row["echo"]
    for body in bodies[1:]:
        assert body["max_tokens"] == 1, "nothing but the next token is computed"
        context = min(body["prompt"], key=len)
        assert all(row[: len(context)] == context for row in body["prompt"])


def test_a_server_whose_single_tokens_are_wrong_is_not_asked_for_them(
    local: Hf, serve: Callable[..., Server]
) -> None:
    """As with a prefix cache that returns stale values, or another tokenizer."""
    right = serving(local)

    def reply(path: str, body: dict[str, Any]) -> Reply:
        if "logprob_token_ids" in body:
            body = body | {"prompt": [row[:-1] for row in body["prompt"]]}
        return right(path, body)

    server = serve(reply, VLLM)
    backend = Openai("tiny", base_url=server.url, tokenizer=local.tokenizer, batch_size=1)
    backend_prompts = [prompt for prompt in asked() if prompt.choices]
    expected = {answer.id: answer.texts for answer in local.answer(backend_prompts)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("comptrust.models.backends.openai.SAME", 1e-4)
        answers = {answer.id: answer.texts for answer in backend.answer(backend_prompts)}
    assert answers == expected
    assert sum("logprob_token_ids" in body for _, body, _ in server.sent) == 1


def test_the_servers_own_template(local: Hf, serve: Callable[..., Server]) -> None:
    server = serve(serving(local))
    prompt = ask("user", "Hello?", sampling=Sampling(max_tokens=8))
    assert [answer.texts for answer in Openai("tiny", base_url=server.url).answer([prompt])] == [
        answer.texts for answer in local.answer([prompt])
    ]
    assert server.sent[0][0] == "/v1/chat/completions"


def test_copies_have_seeds_of_their_own(serve: Callable[..., Server]) -> None:
    """A server that does not know `n` is asked again until all copies are there."""
    server = serve(
        lambda path, body: (
            200,
            {"choices": [{"index": 0, "text": str(body["seed"]), "finish_reason": "stop"}]},
        )
    )
    prompts = [
        ask("completion", name, sampling=Sampling(temperature=1.0, n=3))
        for name in ("Once", "Twice")
    ]
    answers = list(Openai("m", base_url=server.url).answer(prompts))
    assert len({text for answer in answers for text in answer.texts}) == 6
    assert len(server.sent) == 6 and {body["n"] for _, body, _ in server.sent} == {1, 2, 3}


def test_the_beginning_of_text_is_left_to_the_server(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "secret")
    server = serve(
        lambda path, body: (
            200,
            {"choices": [{"index": 0, "text": " Yes.", "finish_reason": "stop"}]},
        )
    )
    backend = Openai("m", base_url=server.url, template="llama-2")
    prompt = ask("user", "Hello?", prefill=" So")
    [answer] = backend.answer([prompt])
    [(path, body, authorization)] = server.sent
    assert (path, body["prompt"], authorization) == (
        "/v1/completions",
        "[INST] Hello? [/INST] So",
        "Bearer secret",
    )
    assert backend.render(prompt) == "<s>[INST] Hello? [/INST] So"
    assert (answer.texts, answer.finish_reasons) == (("Yes.",), ("stop",))


LISTED = {"data": [{"id": "m", "root": "org/m", "owned_by": "vllm"}]}


@pytest.mark.parametrize(
    ("about", "served", "version"),
    [
        (
            {"/v1/models": (200, LISTED), "/version": (200, {"version": "0.32.0"})},
            "org/m",
            "vllm 0.32.0",
        ),
        (
            {
                "/v1/models": (200, {"data": [{"id": "other"}]}),
                "/props": (200, {"build_info": "b9000"}),
            },
            "not told",
            "server b9000",
        ),
        ({"/v1/models": (200, b"<html>")}, "not told", "not told"),
        ({}, "not told", "not told"),
    ],
)
def test_provenance_is_what_the_server_tells(
    serve: Callable[..., Server], about: dict[str, Reply], served: str, version: str
) -> None:
    server = serve(lambda path, body: (500, {}), about)
    found = Openai("m", base_url=server.url, template="llama-2").describe()
    assert found == {
        "backend": "openai",
        "template": "llama-2",
        "dtype": "not told",
        "server": server.url,
        "model": "m",
        "served_model": served,
        "server_version": version,
    }


@pytest.mark.parametrize("fields", [{"choices": CHOICES}, {"prefill": "So"}])
def test_exact_text_needs_a_tokenizer_or_a_template(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"a tokenizer .* or a template \(llama-2"):
        Openai("m", base_url="http://localhost/v1").render(ask("user", "Hello?", **fields))


def test_a_busy_server_is_asked_again(serve: Callable[..., Server]) -> None:
    answers = [
        (503, {}),
        (429, {}),
        (200, b"half an ans"),
        (200, {"choices": [{"index": 0, "message": {"content": "Yes."}}]}),
    ]
    server = serve(lambda path, body: answers[len(server.sent) - 1])
    [answer] = Openai("m", base_url=server.url, pause=0).answer([ask("user", "Hello?")])
    assert answer.texts == ("Yes.",) and len(server.sent) == 4


def test_what_was_being_answered_is_kept_when_another_prompt_fails(
    serve: Callable[..., Server],
) -> None:
    both = threading.Barrier(2, timeout=60)
    noticed = threading.Event()

    def reply(path: str, body: dict[str, Any]) -> Reply:
        both.wait()
        if body["prompt"] == "bad":
            return 400, {"error": "too long"}
        assert noticed.wait(60)
        return 200, {"choices": [{"index": 0, "text": "Yes."}]}

    server = serve(reply)
    backend = Openai("m", base_url=server.url, batch_size=2)
    backend._endpoint.given_up = noticed
    answers = []
    with pytest.raises(ServiceError, match="Prompt 'bad' of ethics: .*HTTP 400: .*too long"):
        for answer in backend.answer(
            [ask("completion", name) for name in ("bad", "good", "later")]
        ):
            answers.append(answer.id)
    assert answers == ["good"] and len(server.sent) == 2


ECHOED = {"index": 0, "text": "Hello? yes", "logprobs": None}


@pytest.mark.parametrize(
    ("reply", "choices", "error", "message"),
    [
        (
            (500, {"error": "burning"}),
            (),
            ServiceError,
            r"does not answer \(HTTP 500: .*burning.*run again to continue",
        ),
        ((400, {"error": "too long"}), (), ServiceError, r"HTTP 400: .*too long"),
        (
            (401, {"error": "no such key: s3cret"}),
            (),
            UserError,
            rf"refuses model 'm' \(HTTP 401.*no such key: \*\*\*.*{KEY}",
        ),
        ((404, {}), (), UserError, r"refuses model 'm' \(HTTP 404.*the base URL"),
        ((200, {"choices": []}), (), ServiceError, "without a choice"),
        (
            (200, {"choices": [{"index": 0, "text": None}]}),
            (),
            ServiceError,
            "withheld an answer to prompt 'Hello",
        ),
        (
            (200, {"choices": [{**ECHOED, "index": index} for index in range(3)]}),
            CHOICES,
            ServiceError,
            "cannot score options",
        ),
        ((400, {"error": "no echo"}), CHOICES, ServiceError, "cannot score options.*no echo"),
    ],
)
def test_each_failure_says_what_to_do(
    serve: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
    choices: tuple[Choice, ...],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.setenv(KEY, "s3cret")
    server = serve(lambda path, body: reply)
    backend = Openai("m", base_url=server.url, patience=0)
    with pytest.raises(error, match=message) as caught:
        list(backend.answer([ask("completion", "Hello?", choices=choices)]))
    assert len(server.sent) == 1
    assert "s3cret" not in str(caught.value) and "s3cret" not in str(backend.describe())


@pytest.mark.parametrize("known", [True, False])
def test_a_server_that_scores_another_text_is_refused(
    local: Hf, serve: Callable[..., Server], known: bool
) -> None:
    logprobs = {"tokens": [" yes"], "token_logprobs": [-0.1], "text_offset": [0]}
    rows = [
        {"index": index, "text": choice.continuation, "logprobs": logprobs}
        for index, choice in enumerate(CHOICES)
    ]
    server = serve(lambda path, body: (200, {"choices": rows}))
    backend = Openai("m", base_url=server.url, tokenizer=local.tokenizer if known else None)
    with pytest.raises(ServiceError, match="cannot score options"):
        list(backend.answer([ask("completion", "Hello?", choices=CHOICES)]))


@pytest.mark.parametrize("reason", ["content_filter", "abort"])
def test_a_text_that_the_server_withheld_is_not_toxic_and_not_harmless(
    serve: Callable[..., Server], tmp_path: Path, reason: str
) -> None:
    def reply(path: str, body: dict[str, Any]) -> Reply:
        if body["prompt"] == "q0":
            return 200, {"choices": [{"index": 0, "text": "", "finish_reason": reason}]}
        return 200, {"choices": [{"index": 0, "text": "Good day.", "finish_reason": "stop"}]}

    prompts = tuple(
        ask("completion", f"q{index}").model_copy(update={"dimension": "toxicity"})
        for index in range(4)
    )
    scorer = {"toxicity": scorers.get(scorers.DEFAULT).identity}
    suite = Suite(
        name="few", revision="1", prompts=prompts, required={"toxicity": ("s",)}, scorers=scorer
    )
    server = serve(reply)
    backend = Openai("m", base_url=server.url)
    done = evaluate(backend, suite, out=tmp_path, checkpoint_digest="c")
    [score] = done.scorecard.scores
    polite = done.generations["toxicity"][1].extra["toxicity"][0]
    assert score.value == pytest.approx(100 * (1 - polite))
    assert (score.n_prompts, score.n_scored, score.withheld) == (4, 3, {"s": {reason: 1}})
    finding = Answered().check(Evidence(done, done))
    assert finding.outcome == "inconclusive"
    assert f"1 of 4 prompts ({reason}; most in scenario s)" in finding.reason
    assert Complete().check(Evidence(done, done)).outcome == "pass"

    before = len(server.sent)
    evaluate(backend, suite, out=tmp_path, checkpoint_digest="c")
    assert len(server.sent) - before == (reason == "abort"), "an abort is asked for again"


def test_reasoning_is_cut_off_and_kept(serve: Callable[..., Server]) -> None:
    messages = [
        {"content": "<think>\nB or A?\n</think>\n\nA"},
        {"content": "A", "reasoning_content": "B or A?"},
        {"content": None, "reasoning": "B or", "finish_reason": "length"},
        {"content": "hm</think> A"},
    ]
    server = serve(
        lambda path, body: (
            200,
            {
                "choices": [
                    {"index": index, "message": message} for index, message in enumerate(messages)
                ]
            },
        )
    )
    prompt = ask("user", "Hello?", sampling=Sampling(temperature=1.0, n=4))
    [answer] = Openai("m", base_url=server.url).answer([prompt])
    assert answer.texts == ("A", "A", "", "A")
    assert answer.reasoning == ("B or A?", "B or A?", "B or", "hm")
    assert "reasoning" not in answer.model_copy(update={"reasoning": ()}).model_dump()


@pytest.mark.parametrize("choices", [CHOICES, ()], ids=["choose", "generate"])
def test_a_server_that_refuses_a_long_prompt(
    serve: Callable[..., Server], choices: tuple[Choice, ...]
) -> None:
    server = serve(lambda path, body: (400, {"error": "This model's maximum context length is 4"}))
    [answer] = Openai("m", base_url=server.url, template="plain").answer(
        [ask("user", "Hello?", choices=choices)]
    )
    assert (answer.texts, answer.withheld) == (("",), "too_long")


def test_a_server_that_states_its_window(local: Hf, serve: Callable[..., Server]) -> None:
    listed = {"/v1/models": (200, {"data": [{"id": "m", "max_model_len": 90}]})}
    server = serve(lambda path, body: (500, {}), listed)
    backend = Openai("m", base_url=server.url, tokenizer=local.tokenizer)
    short, long = (ask("completion", text) for text in ("x", "x" * 71))
    assert backend.fits(short, backend.render(short))
    assert not backend.fits(long, backend.render(long))


def test_nobody_there() -> None:
    nobody = Openai("m", base_url="http://127.0.0.1:9/v1", patience=0)
    with pytest.raises(ServiceError, match="does not answer"):
        list(nobody.answer([ask("user", "Hello?")]))
    with pytest.raises(ServiceError, match="does not answer .*the base URL"):
        nobody.describe()


@pytest.mark.parametrize(
    "url", ["http://me:s3cret@localhost/v1", "http://localhost/v1?key=s3cret", "localhost:8000"]
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url: str) -> None:
    with pytest.raises(UserError) as caught:
        Openai("m", base_url=url)
    assert "s3cret" not in str(caught.value)


def test_an_unknown_template_is_named() -> None:
    with pytest.raises(UserError, match="Did you mean 'llama-2'"):
        Openai("m", base_url="http://localhost/v1", template="llama2")


def test_only_what_shows_from_outside_is_measured(serve: Callable[..., Server]) -> None:
    def reply(path: str, body: dict[str, Any]) -> Reply:
        time.sleep(0.002 * body["max_tokens"])
        return 200, {"usage": {"completion_tokens": body["max_tokens"]}}

    server = serve(reply)
    cost = Openai("m", base_url=server.url, template="chatml").cost()
    assert cost.tokens_per_second and cost.peak_bytes is None
    assert cost.first_token_seconds and cost.first_token_seconds > 0.002
    assert {path for path, _, _ in server.sent} == {"/v1/completions"}
    texts = [body["prompt"] for _, body, _ in server.sent]
    assert len({text[:2] for text in texts}) == len(texts) == 7  # no cache shortens one


@pytest.mark.parametrize("status", [200, 400, 503])
def test_a_server_that_cannot_be_measured_costs_nothing(
    serve: Callable[..., Server], status: int
) -> None:
    cost = Openai("m", base_url=serve(lambda *_: (status, {})).url).cost()
    assert cost.tokens_per_second is None
    assert (cost.first_token_seconds is None) == (status != 200)
