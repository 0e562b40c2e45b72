"""A temporary vLLM server of one checkpoint, with one replica per GPU."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from comptrust.errors import ServiceError, UserError
from comptrust.interrupts import terminable
from comptrust.models import memory, precision
from comptrust.records import Dtype

START_SECONDS = 1800
"""A large model takes minutes to load and to compile."""
STOP_SECONDS = 30
SECRETS = ("OPENAI_API_KEY", "VLLM_API_KEY")
"""Variables hidden from the server, which listens on this machine only."""


@contextmanager
def vllm(
    folder: Path, *, name: str, dtype: str, log: Path, say: Callable[[str], None]
) -> Iterator[str]:
    """Serve a model folder under a name, computing in this dtype, and yield the API's root URL.

    The server's output goes to `log`, and the server ends with the block. Raises UserError if vLLM
    is not installed, ServiceError if the server does not start.
    """
    port, replicas = _free_port(), gpus()
    command = [
        *(program(), "serve", str(folder), "--served-model-name", name),
        # no sampling defaults from the model's folder, as in the backend hf
        *("--host", "127.0.0.1", "--port", str(port), "--generation-config", "vllm"),
        *("--dtype", dtype),
        *(("--data-parallel-size", str(replicas)) if replicas > 1 else ()),
    ]
    visible = {key: value for key, value in os.environ.items() if key not in SECRETS}
    count = f"{replicas} replicas" if replicas > 1 else "1 replica"
    say(f"starting vLLM with {count} (its output: {log})")
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output, terminable():
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=visible | {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"},
            start_new_session=True,
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}/health", log=log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            _stop(process)


def program() -> str:
    """Return the path of the command vllm. Raises UserError if it is not installed."""
    path = shutil.which("vllm")
    if path is None:
        raise UserError(
            "Serving with vLLM needs the command vllm on the PATH, which has none. Install vLLM in"
            " a separate environment (python -m venv vllm; vllm/bin/pip install vllm), since it"
            " pins other versions, and add vllm/bin to the PATH."
        )
    return path


def computed(folder: Path, dtype: Dtype) -> str:
    """Return the dtype that vLLM is to compute in; `auto` is that of the backend hf.

    Without a GPU, quantized weights keep the checkpoint's own: nothing else was tried with vLLM.
    """
    accelerator = gpus() > 0 or bool(memory.quantization(folder))
    return precision.computed(folder, dtype, accelerator=accelerator)


def gpus() -> int:
    """Return the number of GPUs that a server may use (CUDA_VISIBLE_DEVICES, else nvidia-smi)."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([number for number in visible.split(",") if number.strip() not in ("", "-1")])
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], url: str, *, log: Path) -> None:
    """Return when the server answers. Raises ServiceError if it ends first or takes too long."""
    started = time.monotonic()
    while time.monotonic() - started < START_SECONDS:
        if process.poll() is not None:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = lines[-1].strip()[:200] if lines else "it printed nothing"
            raise ServiceError(
                f"vLLM ended with code {process.returncode} before it answered: {last}. Its output"
                f" is in {log}."
            )
        with suppress(httpx.HTTPError):  # not yet
            if httpx.get(url, timeout=5).is_success:
                return
        time.sleep(0.5)
    raise ServiceError(f"vLLM did not answer within {START_SECONDS} s. Its output is in {log}.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(timeout=STOP_SECONDS)
