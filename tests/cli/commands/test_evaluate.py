"""`comptrust evaluate` with a model folder and with a server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from comptrust.cli.commands.evaluate import command
from comptrust.errors import UserError
from comptrust.records import Scorecard

MMLU = ["--dimensions", "mmlu", "--limit", "4"]


class Likely(BaseHTTPRequestHandler):
    """Scores prompts one token per character; letters near A are the most likely."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choices = []
        for index, text in enumerate(body["prompt"]):
            values = [None, *(-ord(letter) / 100 for letter in text[1:])]
            logprobs = {
                "tokens": list(text),
                "token_logprobs": values,
                "text_offset": list(range(len(text))),
            }
            choices.append(
                {"index": index, "text": text, "finish_reason": "length", "logprobs": logprobs}
            )
        data = json.dumps({"choices": choices}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Likely)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}/v1"
    serving.shutdown()
    serving.server_close()


def test_a_served_model(server: str, tmp_path: Path) -> None:
    arguments = [
        "org/served",
        "--backend",
        "openai",
        "--base-url",
        server,
        *MMLU,
        "--out",
        str(tmp_path),
        "--json",
    ]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    card = Scorecard.model_validate_json(done.stdout)
    [score] = card.scores
    assert (score.dimension, score.n_scored) == ("mmlu", score.n_prompts)
    assert score.value is not None and score.n_prompts > 0
    assert (
        card.provenance["backend"] == "openai"
        and card.provenance["model"] == "org/served"
        and card.provenance["server"] == server
    )
    answers = [
        json.loads(line)
        for line in (tmp_path / "generations" / "mmlu.jsonl").read_text().splitlines()
    ]
    assert len(answers) == score.n_prompts and all(
        answer["finish_reasons"] == ["choice"] for answer in answers
    )


def test_a_folder_with_another_template(tiny_model: Path, tmp_path: Path) -> None:
    arguments = [
        str(tiny_model),
        "--template",
        "vicuna_v1.1",
        "--dimensions",
        "stereotype",
        "--limit",
        "1",
        "--out",
        str(tmp_path),
    ]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "stereotype" in done.stdout and str(tmp_path / "scorecard.json") in done.stdout
    card = Scorecard.model_validate_json((tmp_path / "scorecard.json").read_text())
    assert card.provenance["template"] == "vicuna_v1.1"
    for text in json.loads((tmp_path / "rendered.json").read_text()).values():
        assert text.startswith("<s>") and " USER: " in f" {text}" and "ASSISTANT:" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m", "--backend", "openai"], "needs base_url.* or serve vllm"),
        (
            ["m", "--backend", "openai", "--serve", "vllm", "--base-url", "http://localhost/v1"],
            "leave out base_url",
        ),
        (["m", "--serve", "vllm"], "needs backend openai"),
        (["m", "--tokenizer", "m"], "needs backend openai"),
        (["m", "--backend", "openai", "--base-url", "localhost:8000"], "not an http"),
        (["m", "--base-url", "http://localhost/v1"], "needs backend openai"),
        (["m", "--template", "vicuna"], "Did you mean 'vicuna_v1.1'"),
        (
            [
                "m",
                "--backend",
                "openai",
                "--base-url",
                "http://localhost/v1",
                "--template",
                "vicuna",
            ],
            "Did you mean 'vicuna_v1.1'",
        ),
    ],
)
def test_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(command, [*arguments, *MMLU], catch_exceptions=False)


def test_a_changed_checkpoint_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_model, folder)
    record = {
        "recipe": {"base_model": "tiny", "method": "none"},
        "path": str(folder),
        "digest": "d",
        "manifest": {"config.json": "0" * 64},
        "bytes": 1,
        "dense_bytes": 1,
        "effective_bits": 16,
        "sparsity": 0,
        "reload_check": {"max_logit_difference": 0, "tolerance": 0, "n_tokens": 1},
        "versions": {},
    }
    (folder / "checkpoint.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"checkpoint is corrupt: .*config\.json"):
        CliRunner().invoke(
            command, [str(folder), *MMLU, "--out", str(tmp_path / "out")], catch_exceptions=False
        )
