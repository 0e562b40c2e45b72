"""Real servers of the tiny model: same answers, a kill in the middle, started by a command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from comptrust.cli.commands.evaluate import command
from comptrust.errors import ServiceError, UserError
from comptrust.models import engines, gpus, loading, serving, vllm_program
from comptrust.models.backends.hf import Hf
from comptrust.models.backends.openai import Openai
from comptrust.models.engines import EngineOptions
from comptrust.records import Dtype, Message, Prompt, Recipe
from comptrust.trust import suite as suites
from comptrust.trust.run import evaluate
from tests.support.served import Served, stand_in_for_vllm


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


@pytest.fixture(autouse=True)
def no_vllm_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(vllm_program.VARIABLE, raising=False)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None) -> Path:
    """Put an executable named vllm on the PATH; return its log of process ids and arguments."""
    return stand_in_for_vllm(tmp_path, monkeypatch)


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
        card["provenance"]["backend"] == "vllm"
        and card["provenance"]["server"] == "vLLM, started for this"
        and card["provenance"]["dtype"] == "torch.bfloat16"
        and card["provenance"]["weights"] == "dense (BF16)"
    )
    assert card["scores"][0]["n_scored"] == card["scores"][0]["n_prompts"] > 0
    [started] = stand_in.read_text().splitlines()
    number, *arguments = started.split()
    assert arguments[:2] == ["serve", str(tiny_model)]
    assert arguments[-2:] == ["--data-parallel-size", "2"]
    assert "--enable-prefix-caching" in arguments
    assert arguments[arguments.index("--dtype") + 1] == "bfloat16"
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
            ServiceError,
            match="ended with code 3: out of GPU memory. Its output is in .* It loads none",
        ),
        serving.vllm(tiny_model, name="m", dtype="float32", log=tmp_path / "log", say=print),
    ):
        raise AssertionError("it did not start")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


LOG = """
(APIServer pid=2) WARNING 11-28 limits.py: This can cause `OSError: Too many open files`.
(EngineCore pid=1) ERROR 11-28 core.py: Traceback (most recent call last):
(EngineCore pid=1) ERROR 11-28 core.py:   File "x.py", line 3, in load
(EngineCore pid=1) ERROR 11-28 core.py: ValueError: No kernel can compute 3 bits.
(APIServer pid=2) RuntimeError: Engine core initialization failed. See root cause above.
"""


def test_the_reason_is_the_first_error_and_what_can_be_loaded_is_said(
    tiny_model: Path, tmp_path: Path, stand_in: Path
) -> None:
    (tmp_path / "reason").write_text(LOG)
    script(tmp_path / "bin" / "vllm", f"cat {tmp_path / 'reason'}; exit 1")
    with (
        pytest.raises(ServiceError) as caught,
        serving.vllm(tiny_model, name="m", dtype="float32", log=tmp_path / "log", say=print),
    ):
        raise AssertionError("it did not start")
    message = str(caught.value)
    assert "code 1: No kernel can compute 3 bits. Its output" in message
    assert "It loads none, magnitude" in message and "\n" not in message


def test_quantized_weights_need_a_processor_with_kernels(
    tiny_model: Path, tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, flags = tmp_path / "model", tmp_path / "cpuinfo"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(serving, "CPU_INFO", flags)
    monkeypatch.setattr(serving.gpus, "count", lambda: 0)
    flags.write_text("flags : sse4_2 avx2\n")
    settings: dict[str, Any] = {"name": "m", "dtype": "bfloat16", "log": tmp_path / "log"}
    with (
        pytest.raises(UserError, match="integer weights on a CPU only with AVX-512"),
        serving.vllm(folder, **settings, say=print),
    ):
        raise AssertionError("it did not start")
    recipe = Recipe(base_model="m", method="rtn", bits=4)
    monkeypatch.setattr(EngineOptions, "check", lambda self: None)
    with pytest.raises(UserError, match="only with AVX-512"):
        EngineOptions(engine="vllm").check_own(recipe)
    for words in ("avx2 avx512f", "asimd"):
        flags.write_text(f"flags : {words}\n")
        serving.check_processor()
        EngineOptions(engine="vllm").check_own(recipe)
    flags.write_text("flags : avx2\n")
    EngineOptions(engine="vllm").check_own(recipe.model_copy(update={"method": "none"}))


ALIVE = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
os.environ["COMPTRUST_CACHE"] = sys.argv[2]
from pathlib import Path
from typing import Any
from comptrust.models import serving
serving._wait = lambda server, *, on_cpu: None
with serving.vllm(Path(sys.argv[1]), name="m", dtype="float32", log=Path(sys.argv[3]), say=str):
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_with_whoever_started_it(
    tiny_model: Path, tmp_path: Path, stand_in: Path, number: int
) -> None:
    ids = tmp_path / "ids"
    script(tmp_path / "bin" / "vllm", f"sleep 600 & echo $$ $! > {ids}; wait")
    line = [sys.executable, "-c", ALIVE, str(tiny_model), str(tmp_path), str(tmp_path / "log")]
    starter = subprocess.Popen(line, stdout=subprocess.PIPE)
    assert starter.stdout is not None and starter.stdout.readline() == b"up\n"
    while not ids.exists() or not ids.read_text().strip():
        time.sleep(0.05)
    starter.send_signal(number)
    starter.wait()
    left = [int(one) for one in ids.read_text().split()]
    deadline = time.monotonic() + 60
    while any(map(alive, left)):
        assert time.monotonic() < deadline, "processes of the server are left"
        time.sleep(0.05)


def alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_server_that_dies_is_not_waited_for(
    tiny_model: Path, tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "bin" / "vllm", "echo 'torch.OutOfMemoryError: no memory left'; exit 9")
    monkeypatch.setattr(serving, "_wait", lambda server, *, on_cpu: server.process.wait())
    options = EngineOptions(engine="vllm", patience=600)
    prompt = Prompt(
        id="1",
        dimension="toxicity",
        scenario="s",
        messages=(Message(role="user", content="Hello?"),),
    )
    with (
        engines.opened(tiny_model, options, name="m", log=tmp_path / "log") as backend,
        pytest.raises(ServiceError, match="code 9: no memory left.*run again to continue"),
    ):
        list(backend.answer([prompt]))


@pytest.mark.parametrize(
    ("free", "at_once", "shape"),
    [
        ("80000\n80000", 1, (1, 2)),
        ("2\n2", 1, (2, 1)),
        ("4\n4", 1, (1, 2)),
        ("4\n4", 2, (2, 1)),
        ("1\n1", 1, None),
        ("2\n2", 2, None),
    ],
)
def test_copies_and_shares_of_the_weights_follow_from_the_memory(
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    free: str,
    at_once: int,
    shape: tuple[int, int] | None,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    script(tmp_path / "nvidia-smi", f"printf '{free}\n'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(gpus, "weights", lambda folder, dtype: int(3e6))
    share = gpus.SHARE / at_once
    if shape is None:
        with pytest.raises(ServiceError, match=r"about 0.0 GB of GPU memory .* 2 x 0.0 GB"):
            gpus.layout(tiny_model, dtype="float32", share=share)
    else:
        assert gpus.layout(tiny_model, dtype="float32", share=share) == gpus.Layout(*shape)


def test_vllm_is_found_by_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = script(tmp_path / "env" / "bin" / "python", "echo 0.32.0")
    for value in (python, python.parent, python.parents[1]):
        monkeypatch.setenv(vllm_program.VARIABLE, str(value))
        assert vllm_program.program() == (str(python), "-m", vllm_program.SERVER, "--model")
    for value, message in (
        (sys.executable, "has no vLLM that loads"),
        (str(tmp_path), "is no Python and no folder with one"),
    ):
        monkeypatch.setenv(vllm_program.VARIABLE, value)
        with pytest.raises(UserError, match=message):
            vllm_program.program()


def test_auto_takes_vllm_where_a_gpu_and_vllm_are_there(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for visible, asks in (("", "hf"), ("0", "vllm")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert EngineOptions().asks == asks
    assert EngineOptions(base_url="http://127.0.0.1:1/v1").asks == "openai"
    with pytest.raises(UserError, match="weights cannot be seen"):
        EngineOptions(engine="openai").check_own()


def test_without_vllm_it_is_said_how_to_get_it(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(vllm_program.VARIABLE, raising=False)
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
    with pytest.raises(UserError, match="comptrust setup vllm"):
        CliRunner().invoke(command, line, catch_exceptions=False)


@pytest.mark.parametrize(("visible", "count"), [("", 0), ("-1", 0), ("0", 1), ("0,2,3", 3)])
def test_gpus_that_may_be_used(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.count() == count


@pytest.mark.parametrize(
    ("visible", "asked", "dtype"),
    [("", "auto", "float32"), ("0", "auto", "bfloat16"), ("", "bfloat16", "bfloat16")],
)
def test_vllm_computes_in_the_dtype_of_hf(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, visible: str, asked: Dtype, dtype: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert serving.computed(tiny_model, asked) == dtype
