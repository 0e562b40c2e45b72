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
from comptrust.models import engines, serving, sources, vllm_program
from comptrust.models.backends.hf import Hf
from comptrust.models.backends.vllm import Vllm
from comptrust.models.engines import EngineOptions
from comptrust.records import Dtype
from comptrust.trust import suite as suites
from comptrust.trust.run import evaluate
from comptrust.workflow import checkpoints
from tests.support import plain_kernel
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


@pytest.fixture
def dtype(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Dtype:
    """Return what vLLM computes packed weights in here: with AVX-512 its own kernel, bfloat16.

    It has no kernel without AVX-512 (which `serving` refuses), nor bfloat16 without its products.
    There a plain kernel shows that it reads the checkpoint as hf does, layer by layer.
    """
    if "avx512f" in serving.CPU_INFO.read_text():
        return "bfloat16"
    plain_kernel.install(tmp_path / "plug-in")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plug-in"))
    monkeypatch.setattr(serving, "check_processor", lambda: None)
    return "float32"


def test_a_mixed_checkpoint_answers_as_in_hf(model: Path, tmp_path: Path, dtype: Dtype) -> None:
    """4 bits in some layers and 16 in others, which is what a search for vllm-cpu proposes."""
    kept = ["model.layers.0.self_attn.[qkv]_proj", "model.layers.1.mlp.down_proj"]
    options = {"layer_bits": [{"layers": kept, "bits": "dense"}]}
    recipe = build(model=str(model), method="rtn", bits=4, server="vllm-cpu", **options)
    record = checkpoints.get(recipe, sources.resolve(str(model)), out=tmp_path / "mixed")
    folder = Path(record.path)
    dense, expected = (Hf(path, dtype=dtype).answer(asked()) for path in (model, folder))
    settings = EngineOptions(engine="vllm", dtype=dtype, batch_size=4)
    with engines.opened(folder, settings, name="mixed", log=tmp_path / "log") as backend:
        answers = {answer.id: answer for answer in backend.answer(asked())}
    within = {"float32": 1e-3, "bfloat16": 2e-2}[dtype]
    moved = 0.0
    for before, other in zip(dense, expected, strict=True):
        assert answers[other.id].texts == other.texts
        logliks = other.extra.get("loglik", [])
        assert answers[other.id].extra.get("loglik", []) == pytest.approx(logliks, abs=within)
        pairs = zip(before.extra.get("loglik", []), logliks, strict=True)
        moved = max([moved, *(abs(one - two) for one, two in pairs)])
    assert moved > 2 * within, "rounding shows in the answers"
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
