"""`comptrust evaluate` with a model folder and with a server."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comptrust.cli.app import comptrust
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


def test_the_dtype_is_another_evaluation_and_recorded(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for dtype, computed in (("auto", "float32"), ("bfloat16", "bfloat16")):
        line = [str(tiny_model), "--engine", "hf", "--dtype", dtype, *MMLU, "--json"]
        done = CliRunner().invoke(command, line, catch_exceptions=False)
        card = Scorecard.model_validate_json(done.stdout)
        assert card.engine["dtype"] == f"torch.{computed}"
        assert card.provenance["weights"] == "dense (BF16)"
    plain, other = sorted((tmp_path / "out" / "evaluations").iterdir())
    assert other.name == f"{plain.name}-bfloat16"
    other.rename(tmp_path / "kept")
    again = [str(tiny_model), "--dtype", "bfloat16", *MMLU, "--out", str(plain)]
    with pytest.raises(UserError, match="another model, suite or backend"):
        CliRunner().invoke(command, again, catch_exceptions=False)


def test_an_argument_of_the_template_is_in_the_prompts_and_recorded(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    template = "{{ messages[-1].content }}{% if not enable_thinking %} Do not think.{% endif %}"
    (folder / "chat_template.jinja").write_text(template)
    line = [str(folder), "--template-arg", "enable_thinking=false", "--limit", "1"]
    out = ["--dimensions", "stereotype", "--out", str(tmp_path / "out")]
    CliRunner().invoke(command, [*line, *out], catch_exceptions=False)
    card = Scorecard.model_validate_json((tmp_path / "out" / "scorecard.json").read_text())
    described = "own (enable_thinking=False, system turn in the user's turn)"
    assert card.provenance["template"] == described
    for text in json.loads((tmp_path / "out" / "rendered.json").read_text()).values():
        assert "Do not think." in text


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
    assert "weights: dense (BF16)" in done.stdout
    card = Scorecard.model_validate_json((tmp_path / "scorecard.json").read_text())
    assert card.provenance["template"] == "vicuna_v1.1"
    for text in json.loads((tmp_path / "rendered.json").read_text()).values():
        assert text.startswith("<s>") and " USER: " in f" {text}" and "ASSISTANT:" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m", "--backend", "openai"], "needs base_url.*use engine vllm"),
        (["m", "--engine", "vlm"], "Did you mean 'vllm'"),
        (["m", "--engine", "hf", "--base-url", "http://localhost/v1"], "needs engine openai"),
        (
            ["m", "--backend", "openai", "--serve", "vllm", "--base-url", "http://localhost/v1"],
            "engine vllm starts its own server",
        ),
        (["m", "--tokenizer", "m"], "needs engine openai"),
        (["m", "--backend", "openai", "--base-url", "localhost:8000"], "not an http"),
        (
            ["m", "--base-url", "http://localhost/v1", "--dtype", "float32"],
            "dtype float32 cannot be set with engine openai",
        ),
        (["m", "--template", "vicuna"], "Did you mean 'vicuna_v1.1'"),
        (
            ["m", "--base-url", "http://localhost/v1", "--template-arg", "thinking=false"],
            "template_args thinking: the server fills its own chat template",
        ),
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


def test_evaluations_of_folders_are_compared_only_with_a_proven_dense_one(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)

    def call(*line: str) -> Result:
        return CliRunner().invoke(comptrust, line, catch_exceptions=False)

    for bits in ("3", "8"):
        made = [
            "--model",
            str(tiny_model),
            "--method",
            "rtn",
            "--bits",
            bits,
            "--out",
            f"rtn{bits}",
        ]
        assert call("compress", *made).exit_code == 0
    for name in (str(tiny_model), "rtn3", "rtn8"):
        done = call("evaluate", name, *MMLU, "--out", f"of/{Path(name).name}")
        assert done.exit_code == 0
    dense, three, eight = f"of/{tiny_model.name}", "of/rtn3", "of/rtn8"
    assert json.loads(Path(eight, "checkpoint.json").read_text())["recipe"]["bits"] == 8
    Path("mine.yaml").write_text("name: mine\nrules: [{rule: complete, dimensions: [mmlu]}]\n")
    policy = ("--policy", "mine.yaml", "--json")

    def comparable(baseline: str, *more: str) -> tuple[str, str]:
        done = call("gate", eight, "--baseline", baseline, *(more or policy))
        first = json.loads(done.stdout)["findings"][0]
        return first["outcome"], first["reason"]

    assert comparable(dense)[0] == "pass"
    assert "is not dense but rtn-3bit" in comparable(three)[1]
    Path(three, "checkpoint.json").unlink()  # as in an evaluation by another program
    outcome, reason = comparable(three)
    assert outcome == "inconclusive" and "its weights are quantized" in reason
    card = json.loads(Path(three, "scorecard.json").read_text())
    del card["provenance"]["weights"]
    Path(three, "scorecard.json").write_text(json.dumps(card))
    outcome, reason = comparable(three)
    assert outcome == "inconclusive" and "Nothing shows that the baseline is dense" in reason
    Path("theirs.yaml").write_text(Path("mine.yaml").read_text() + "dense: declared\n")
    assert comparable(three, "--policy", "theirs.yaml", "--json")[0] == "pass"
