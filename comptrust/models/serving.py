"""A temporary vLLM server of one checkpoint: started, watched and surely stopped."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from comptrust.errors import ServiceError, UserError
from comptrust.interrupts import terminable
from comptrust.models import gguf_folder, gpus, memory, precision, servers, vllm_program
from comptrust.records import NOT_TOLD, Dtype
from comptrust.text_tables import counted

START_SECONDS = 1800
"""A large model takes minutes to load and to compile."""
STOP_SECONDS = 30
SECRETS = ("OPENAI_API_KEY", "VLLM_API_KEY")
"""Variables hidden from the server, which listens on this machine only."""
OF_SERVER = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_ENGINE_READY_TIMEOUT_S": str(START_SECONDS),
}
CACHE_GB = "VLLM_CPU_KVCACHE_SPACE"
"""Variable: 2^30 bytes for keys and values on a CPU."""
ON_CPU = ("--block-size", "32", "--enforce-eager")
"""On a CPU the prefix cache keeps or forgets 32 tokens together, instead of vLLM's 128, and nothing
is compiled: that takes longer there than it spares."""
CPU_INFO = Path("/proc/cpuinfo")
PACKED = "pack-quantized"
"""Format of compressed-tensors with integers of a few bits."""
KEPT = r"""
exec 3<&0
trap : TERM
"$@" </dev/null 3<&- & server=$!
(trap "" TERM; read -r line <&3; kill -TERM 0; sleep 20; kill -KILL 0) &
while kill -0 "$server" 2>/dev/null; do wait "$server"; code=$?; done
exit "$code"
"""
"""Runs a command and ends its process group once its input closes: when this process is gone."""
ERROR = re.compile(r"\b[\w.]*(?:Error|Exception): (?P<reason>\S.*)")
LATER = ("initialization failed", "Engine core", "See root cause", "cancelled")
"""Parts of errors that only report an earlier one."""
KERNELS = re.compile(r"Using (\w*Kernel\w* for \w+|[A-Z_0-9]+ (?:attention )?backend)")


@dataclass(frozen=True)
class Server:
    """A server that runs here."""

    url: str
    """The API's root."""
    name: str
    """The model's name there."""
    log: Path
    process: "subprocess.Popen[bytes]"

    def gone(self) -> str:
        """Return why the server has ended, empty while it runs."""
        if self.process.poll() is None:
            return ""
        code = self.process.returncode
        return f"vLLM ended with code {code}: {reason(self.log)}. Its output is in {self.log}."

    def kernels(self) -> str:
        """Return what the server says it computes with."""
        found = dict.fromkeys(KERNELS.findall(_text(self.log)))
        return "; ".join(found) or NOT_TOLD


@contextmanager
def vllm(
    folder: Path,
    *,
    name: str,
    dtype: str,
    share: float = gpus.SHARE,
    log: Path,
    say: Callable[[str], None],
) -> Iterator[Server]:
    """Serve a model folder under a name, computing in this dtype, until the block ends.

    `share` is what it takes of each GPU's memory. The server's output goes to `log`. Raises
    UserError if vLLM is not installed, ServiceError if memory does not suffice or the server does
    not start.
    """
    folder, port = gguf_folder.plain(folder), _free_port()
    program, layout = vllm_program.program(), gpus.layout(folder, dtype=dtype, share=share)
    on_cpu = gpus.count() == 0
    environment = {key: value for key, value in os.environ.items() if key not in SECRETS}
    environment |= OF_SERVER
    if on_cpu:
        stated = memory.quantization(folder)
        if stated.get("quant_method") in ("gptq", "awq") or stated.get("format") == PACKED:
            check_processor()
        environment.setdefault(CACHE_GB, "4")
        needed = gpus.weights(folder, dtype=dtype) + _cache_bytes(environment[CACHE_GB])
        memory.check_bytes(folder, needed, what=f"its weights and vLLM's cache ({CACHE_GB})")
    command = [
        *(*program, str(folder), "--served-model-name", name),
        # no sampling defaults from the model's folder, as in the backend hf
        *("--host", "127.0.0.1", "--port", str(port), "--generation-config", "vllm"),
        *("--enable-prefix-caching", "--dtype", dtype),
        *(ON_CPU if on_cpu else ("--gpu-memory-utilization", f"{share:g}")),
        *(("--tensor-parallel-size", str(layout.tensor)) if layout.tensor > 1 else ()),
        *(("--data-parallel-size", str(layout.data)) if layout.data > 1 else ()),
    ]
    say(f"starting vLLM with {counted(layout.data, 'replica')} (its output: {log})")
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as output, terminable():
        process = subprocess.Popen(
            ["sh", "-c", KEPT, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            server = Server(f"http://127.0.0.1:{port}/v1", name, log, process)
            _wait(server, on_cpu=on_cpu)
            yield server
        finally:
            _stop(process)


def computed(folder: Path, dtype: Dtype) -> str:
    """Return the dtype that vLLM is to compute in; `auto` is that of the backend hf.

    Without a GPU, quantized weights keep the checkpoint's own: nothing else was tried with vLLM.
    """
    accelerator = gpus.count() > 0 or bool(memory.quantization(folder))
    return precision.computed(folder, dtype, accelerator=accelerator)


def reason(log: Path) -> str:
    """Return in one line why a server failed: the first error that is not due to another."""
    # A warning may quote an error that has not happened.
    lines = [line for line in _text(log).strip().splitlines() if " WARNING " not in line]
    errors = [found["reason"] for found in map(ERROR.search, lines) if found]
    root = next((error for error in errors if not any(part in error for part in LATER)), "")
    last = lines[-1].strip() if lines else "it printed nothing"
    return " ".join((root or last).split())[:300].rstrip(".")


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def check_processor() -> None:
    """Raise UserError if vLLM has no kernel for packed integers on this x86 processor."""
    try:
        flags = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # another system
        return
    if "avx2" in flags and "avx512f" not in flags:
        raise UserError(
            "vLLM computes integer weights on a CPU only with AVX-512, which this one lacks. Use"
            " --engine hf."
        )


def _cache_bytes(stated: str) -> int:
    try:
        return int(float(stated) * 2**30)
    except ValueError:
        return 0  # vLLM says what is wrong with it


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Server, *, on_cpu: bool) -> None:
    """Return when the server answers and is warm. Raises ServiceError if it ends before."""
    first = {"model": server.name, "prompt": "Hello", "max_tokens": 2}
    deadline = time.monotonic() + START_SECONDS
    # one client: making one reads all certificates, which takes a busy server's time
    with httpx.Client(base_url=server.url.removesuffix("/v1")) as client:
        while time.monotonic() < deadline:
            if gone := server.gone():
                _, _, kinds = servers.about()["vllm-cpu" if on_cpu else "vllm"].partition(": ")
                raise ServiceError(f"{gone} It loads {kinds}.")
            with suppress(httpx.HTTPError):  # not yet
                if client.get("/health", timeout=5).is_success:
                    # an answer that fails is tried again, with its reason, by whoever needs it
                    client.post("/v1/completions", json=first, timeout=START_SECONDS)
                    return
            time.sleep(0.5)
    raise ServiceError(
        f"vLLM did not answer within {START_SECONDS} s. Its output is in {server.log}."
    )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(timeout=STOP_SECONDS)
    if process.stdin:
        process.stdin.close()
