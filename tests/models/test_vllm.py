"""vLLM itself, from the environment that COMPTRUST_VLLM names: the answers of hf, and a kill."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import pytest

from comptrust.compression.recipe import build
from comptrust.errors import ServiceError
from comptrust.models import engines, sources, vllm_program
from comptrust.models.backends.hf import Hf
from comptrust.models.backends.vllm import Vllm
from comptrust.models.engines import EngineOptions
from comptrust.trust import suite as suites
from comptrust.trust.run import evaluate
from comptrust.workflow import checkpoints
from tests.support.asked import asked

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        vllm_program.VARIABLE not in os.environ,
        reason=f"needs vLLM: set {vllm_program.VARIABLE} (comptrust setup vllm)",
    ),
]


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Llama with heads of 32: on a CPU vLLM computes none of 16."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("heads") / "llama"
    shape = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
    config = transformers.AutoConfig.from_pretrained(tiny_model, **shape)
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    options = EngineOptions(engine="vllm", dtype="float32", batch_size=4)
    with engines.opened(model, options, name="tiny", log=log) as backend:
        yield cast(Vllm, backend)


def test_options_and_texts_are_those_of_hf(served: Vllm, model: Path) -> None:
    local = Hf(model, dtype="float32")
    expected = {answer.id: answer for answer in local.answer(asked())}
    for _ in range(2):  # then from the prefix cache
        for answer in served.answer(asked()):
            other = expected[answer.id]
            assert answer.texts == other.texts
            logliks = other.extra.get("loglik", [])
            assert answer.extra.get("loglik", []) == pytest.approx(logliks, abs=1e-3)
    assert served._asks_tokens, "vLLM is asked for single tokens"
    facts = served.describe() | served.machine()
    assert (facts["backend"], facts["dtype"]) == ("vllm", "torch.float32")
    assert facts["server_version"] == f"vllm {vllm_program.TESTED}"


@pytest.mark.skipif(
    "avx512f" not in Path("/proc/cpuinfo").read_text(),
    reason="vLLM computes 4 bits on a CPU only with AVX-512",
)
def test_a_mixed_checkpoint_answers_as_in_hf(model: Path, tmp_path: Path) -> None:
    """4 bits in some layers and 16 in others, which is what a search for vllm-cpu proposes."""
    options = {"layer_bits": [{"layers": ["model.layers.0.*"], "bits": "dense"}]}
    recipe = build(model=str(model), method="rtn", bits=4, server="vllm-cpu", **options)
    record = checkpoints.get(recipe, sources.resolve(str(model)), out=tmp_path / "mixed")
    folder = Path(record.path)
    local = Hf(folder, dtype="bfloat16")
    expected = {answer.id: answer.texts for answer in local.answer(asked())}
    settings = EngineOptions(engine="vllm", dtype="bfloat16", batch_size=4)
    with engines.opened(folder, settings, name="mixed", log=tmp_path / "log") as backend:
        texts = {answer.id: answer.texts for answer in backend.answer(asked())}
    assert texts == expected
    assert "Kernel" in cast(Vllm, backend)._server.kernels(), "4-bit layers have a kernel"


def test_no_stored_answer_is_asked_again_after_a_kill(
    served: Vllm, model: Path, tmp_path: Path
) -> None:
    suite = suites.load("mini", dimensions=["toxicity"], limit=6)
    out = tmp_path / "out"
    partial = out / "generations" / ".toxicity.partial.jsonl"

    def kill_midway() -> None:
        while not partial.exists() or len(partial.read_text().splitlines()) < 3:
            time.sleep(0.01)
        os.killpg(served._server.process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_midway, daemon=True)
    killer.start()
    with pytest.raises(ServiceError, match="vLLM ended with code .*run again to continue"):
        evaluate(served, suite, out=out, checkpoint_digest="d")
    killer.join()
    kept = len(partial.read_text().splitlines())
    assert 3 <= kept < len(suite.prompts)
    options = EngineOptions(engine="vllm", dtype="float32", batch_size=4)
    with engines.opened(model, options, name="tiny", log=tmp_path / "log") as second:
        evaluate(second, suite, out=out, checkpoint_digest="d")
        url = cast(Vllm, second)._server.url.removesuffix("/v1")
        metrics = httpx.get(f"{url}/metrics").text
    ended = re.findall(r"^vllm:request_success_total\{.*\} (\S+)$", metrics, re.M)
    warm_up = 1
    assert sum(map(float, ended)) == len(suite.prompts) - kept + warm_up
