"""Real servers of the tiny model: same answers, a kill in the middle, started by a command."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from comptrust.cli.commands.evaluate import command
from comptrust.errors import ServiceError, UserError
from comptrust.models import loading, serving
from comptrust.models.backends.hf import Hf
from comptrust.models.backends.openai import Openai
from comptrust.records import Dtype
from comptrust.trust import suite as suites
from comptrust.trust.run import evaluate
from tests.support.served import TRANSFORMERS, Served

STAND_IN = f"""#!/bin/sh
# Stands in for vllm: a real server of the same interface; its model name is the folder's.
echo "$$ $*" >> "$STAND_IN_LOG"
folder=$2 port=$(echo "$*" | sed "s/.*--port \\([0-9]*\\).*/\\1/")
cd "$(dirname "$folder")"
exec {TRANSFORMERS} serve "$(basename "$folder")" --host 127.0.0.1 --port "$port" --dtype float32
"""


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    yield


@pytest.mark.slow
def test_a_server_killed_in_the_middle_and_started_again_gives_the_answers_of_hf(
    tiny_model: Path, tmp_path: Path, offline: None
) -> None:
    suite = suites.load("mini", dimensions=["toxicity"], limit=15)
    first = Served(tiny_model, log=tmp_path / "first.log")
    backend = Openai(
        str(tiny_model),
        base_url=f"http://127.0.0.1:{first.port}/v1",
        tokenizer=loading.tokenizer(tiny_model),
        batch_size=2,
        patience=1,
        pause=0.2,
    )
    out = tmp_path / "served"
    partial = out / "generations" / ".toxicity.partial.jsonl"

    def kill_midway() -> None:
        while not partial.exists() or len(partial.read_text().splitlines()) < 5:
            time.sleep(0.002)
        first.kill()

    killer = threading.Thread(target=kill_midway, daemon=True)
    killer.start()
    with pytest.raises(
        ServiceError, match="does not answer .*Answers so far have been kept; run again to continue"
    ):
        evaluate(backend, suite, out=out, checkpoint_digest="d")
    killer.join()
    kept = len(partial.read_text().splitlines())
    assert 5 <= kept < len(suite.prompts)

    second = Served(tiny_model, log=tmp_path / "second.log", port=first.port)
    try:
        served = evaluate(backend, suite, out=out, checkpoint_digest="d")
        assert second.answered() == len(suite.prompts) - kept, (
            "exactly the prompts without an answer are asked again, each once"
        )
    finally:
        second.kill()
    here = evaluate(Hf(tiny_model), suite, out=tmp_path / "here", checkpoint_digest="d")
    assert served.scorecard.rendering_digest == here.scorecard.rendering_digest
    texts = [[answer.texts for answer in one.generations["toxicity"]] for one in (served, here)]
    assert texts[0] == texts[1]
    assert served.scorecard.scores == here.scorecard.scores


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None) -> Path:
    """Put an executable named vllm on the PATH; return its log of process ids and arguments."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    log = tmp_path / "started"
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_LOG", str(log))
    return log


@pytest.mark.slow
def test_a_server_comes_and_goes_with_the_command(
    tiny_model: Path, tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    line = [
        str(tiny_model),
        "--backend",
        "openai",
        "--serve",
        "vllm",
        "--dimensions",
        "toxicity",
        "--limit",
        "2",
    ]
    done = CliRunner().invoke(
        command, [*line, "--out", str(tmp_path / "out"), "--json"], catch_exceptions=False
    )
    card = json.loads(done.stdout)
    assert (
        card["provenance"]["backend"] == "openai"
        and card["provenance"]["server"] == "vLLM, started for this"
        and card["provenance"]["dtype"] == "torch.bfloat16"
        and card["provenance"]["weights"] == "dense (BF16)"
    )
    assert card["scores"][0]["n_scored"] == card["scores"][0]["n_prompts"] > 0
    [started] = stand_in.read_text().splitlines()
    number, *arguments = started.split()
    assert arguments[:2] == ["serve", str(tiny_model)]
    assert arguments[-4:] == ["--dtype", "bfloat16", "--data-parallel-size", "2"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)


def test_a_server_that_does_not_start_says_why(
    tiny_model: Path, tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin" / "vllm").write_text(
        "#!/bin/sh\necho loading\necho 'out of GPU memory'\nexit 3\n"
    )
    with (
        pytest.raises(
            ServiceError, match="ended with code 3 .*: out of GPU memory. Its output is in"
        ),
        serving.vllm(tiny_model, name="m", dtype="float32", log=tmp_path / "log", say=print),
    ):
        raise AssertionError("it did not start")


def test_without_vllm_it_is_said_how_to_get_it(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    line = [
        str(tiny_model),
        "--engine",
        "vllm",
        "--dimensions",
        "mmlu",
        "--limit",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    with pytest.raises(UserError, match="needs the command vllm on the PATH"):
        CliRunner().invoke(command, line, catch_exceptions=False)


@pytest.mark.parametrize(("visible", "count"), [("", 0), ("-1", 0), ("0", 1), ("0,2,3", 3)])
def test_gpus_that_may_be_used(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert serving.gpus() == count


@pytest.mark.parametrize(
    ("visible", "asked", "dtype"),
    [("", "auto", "float32"), ("0", "auto", "bfloat16"), ("", "bfloat16", "bfloat16")],
)
def test_vllm_computes_in_the_dtype_of_hf(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, visible: str, asked: Dtype, dtype: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert serving.computed(tiny_model, asked) == dtype
