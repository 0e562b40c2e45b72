"""What compressing and answering cost on one GPU, with randomly initialized Llamas: minutes.

    python benchmarks/gpu.py --shapes 8b,13b --json gpu.json
    python benchmarks/gpu.py --shapes tiny --seconds 120        # a trial, also without a GPU

Weights are random, so nothing is downloaded and texts mean nothing: time and memory are those of a
real model of that shape. Each part is a process of its own with a time limit; one that fails says
why in its row, and the others go on. Parts:

- `compress:METHOD`: seconds, and peak memory of the GPU and of the process;
- `estimate`: the memory estimate against what the loaded model takes;
- `hf`: tokens/s read and written by the backend, and by which engine;
- `packed`: the engine for CPUs, forced; its tokens/s, and whether its texts are those of `hf`;
- `vllm`, `vllm:METHOD`: the same of a vLLM server (COMPTRUST_VLLM), dense or compressed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from _measure import Figure, report

SHAPES = {
    "tiny": (64, 128, 2, 4, 2),
    "8b": (4096, 14336, 32, 32, 8),
    "13b": (5120, 13824, 40, 40, 40),
}
"""Hidden and inner size, layers, heads, heads of keys and values: Llama 3.1 8B, Llama 2 13B."""
METHODS: dict[str, dict[str, Any]] = {"fp8": {}, "gptq": {"bits": 4}}
PARTS = ("estimate", "hf", "packed", "compress:fp8", "compress:gptq")
WITH_VLLM = ("vllm", "vllm:fp8", "vllm:gptq")
READ_TOKENS, WRITTEN_TOKENS = 1024, 128
"""Of one prompt that is read and scored; of one answer."""


def make(shape: str, tokenizer: Path, out: Path) -> None:
    """Save a random Llama in bfloat16, made where it is fastest."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    known = AutoTokenizer.from_pretrained(tokenizer)
    hidden, inner, layers, heads, few = SHAPES[shape]
    settings = LlamaConfig(
        vocab_size=len(known),
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=few,
        max_position_embeddings=4096,
        bos_token_id=known.bos_token_id,
        eos_token_id=known.eos_token_id,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(settings)
    model.save_pretrained(out)
    known.save_pretrained(out)


def peaks() -> list[Figure]:
    """Return this process's peak memory so far."""
    from comptrust.models import memory

    return [
        Figure(name.removeprefix("memory/"), value / 1e9, "GB")
        for name, value in memory.peak().items()
    ]


def compress(folder: Path, method: str, *, given: argparse.Namespace) -> list[Figure]:
    """Compress as `comptrust compress` does."""
    from comptrust.compression import oneshot, recipe

    asked = recipe.build(
        model=str(folder),
        method=method,
        calibration_samples=given.samples if method == "gptq" else None,
        **METHODS[method],
    )
    began = time.perf_counter()
    record = oneshot.compress(asked, out=folder.with_name(method))
    seconds = time.perf_counter() - began
    return [Figure("time", seconds, "s"), Figure("files", record.bytes / 1e9, "GB"), *peaks()]


def estimate(folder: Path) -> list[Figure]:
    """Load the model; the estimate is of the weights alone."""
    import torch

    from comptrust.models import loading, memory

    before = memory.in_use()
    model, _ = loading.load(folder)
    used, size = memory.in_use() - before, torch.finfo(model.dtype).bits // 8
    estimated = memory.weights(folder, float_bytes=size)
    return [
        Figure("weights", float(model.num_parameters()), ""),
        Figure("estimated", estimated / 1e9, "GB"),
        Figure("used", used / 1e9, "GB"),
        *peaks(),
    ]


def prompts(count: int, *, choices: bool, tokens: int) -> list[Any]:
    """Return prompts that share no beginning; with `choices` they are read alone."""
    from comptrust.models.cost import TEXT
    from comptrust.records import Choice, Message, Prompt, Sampling

    long = (TEXT * (1 + 6 * tokens // len(TEXT)))[: 4 * tokens if choices else 400]
    return [
        Prompt(
            id=str(number),
            dimension="mmlu",
            scenario="gpu",
            messages=(Message(role="user", content=f"{number}. {long}"),),
            sampling=Sampling(max_tokens=1 if choices else tokens),
            choices=tuple(Choice(text=text, continuation=text) for text in (" A", " B"))
            if choices
            else (),
        )
        for number in range(count)
    ]


def answers(backend: Any, *, tokenizer: Any, given: argparse.Namespace) -> list[Figure]:
    """Return tokens/s read (prompts whose options are scored) and written (greedy answers)."""

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    list(backend.answer(prompts(2, choices=True, tokens=16)))
    list(backend.answer(prompts(2, choices=False, tokens=16)))
    read = prompts(given.prompts, choices=True, tokens=given.read_tokens)
    written = prompts(given.prompts, choices=False, tokens=given.written_tokens)
    tokens = sum(count(backend.render(prompt)) for prompt in read)
    began = time.perf_counter()
    list(backend.answer(read))
    middle = time.perf_counter()
    found = list(backend.answer(written))
    ended = time.perf_counter()
    # An answer that is not cut off has fewer tokens, which random weights hardly ever give.
    cut = sum(answer.finish_reasons == ("length",) for answer in found)
    return [
        Figure("read", tokens / (middle - began), "tokens/s"),
        Figure("written", cut * given.written_tokens / (ended - middle), "tokens/s"),
        *peaks(),
    ]


def hf(folder: Path, *, given: argparse.Namespace, packed: bool = False) -> list[Figure]:
    """Answer with transformers; `packed` forces the engine for CPUs and compares its texts."""
    from comptrust.models.backends.hf import Hf
    from comptrust.models.inference.packed import Packed

    backend = Hf(folder)
    name = type(backend.engine).__name__
    if not packed:
        print(f"engine: {name}", file=sys.stderr)
        return answers(backend, tokenizer=backend.tokenizer, given=given)
    asked = prompts(8, choices=False, tokens=16)
    usual = [answer.texts for answer in sorted(backend.answer(asked), key=lambda one: one.id)]
    backend.engine = Packed(backend.model, batch_size=None, ends=backend.ends)
    forced = [answer.texts for answer in sorted(backend.answer(asked), key=lambda one: one.id)]
    same = sum(one == other for one, other in zip(usual, forced, strict=True))
    figures = answers(backend, tokenizer=backend.tokenizer, given=given)
    return [Figure(f"texts of 8 as {name}", float(same), ""), *figures]


def vllm(folder: Path, *, given: argparse.Namespace) -> list[Figure]:
    """Serve the folder with vLLM and ask it; the start is timed apart."""
    from comptrust.models import engines, loading

    options = engines.EngineOptions(engine="vllm", batch_size=given.prompts)
    began, log = time.perf_counter(), folder.with_name(f"{folder.name}.log")
    with engines.opened(folder, options, name=folder.name, log=log) as backend:
        start = time.perf_counter() - began
        figures = answers(backend, tokenizer=loading.tokenizer(folder), given=given)
    return [Figure("start", start, "s"), *figures]


def work(part: str, folder: Path, given: argparse.Namespace) -> list[Figure]:
    """Do one part in this process."""
    kind, _, method = part.partition(":")
    answering = folder.with_name(method) if method else folder
    does: dict[str, Callable[[], list[Figure]]] = {
        "compress": lambda: compress(folder, method, given=given),
        "estimate": lambda: estimate(folder),
        "hf": lambda: hf(folder, given=given),
        "packed": lambda: hf(folder, given=given, packed=True),
        "vllm": lambda: vllm(answering, given=given),
    }
    if kind == "make":
        make(method, given.tokenizer, folder)
        return peaks()
    return does[kind]()


def in_process(part: str, folder: Path, words: list[str], *, seconds: float) -> list[Figure]:
    """Do one part in a process of its own; raise RuntimeError with its last line if it fails."""
    out = folder.with_name("figures.json")
    command = [sys.executable, __file__, *words, "--part", part, "--folder", str(folder)]
    try:
        done = subprocess.run(
            [*command, "--json", str(out)], capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"not done after {seconds:.0f} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise RuntimeError(lines[-1][:200])
    return [Figure(**fields) for fields in json.loads(out.read_text())]


def main() -> None:
    """Print a table of what was measured, and write it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", default="8b,13b", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--parts", help="default: all, those with vLLM if it is found")
    parser.add_argument("--tokenizer", type=Path, help="a folder [default: the embedded model's]")
    parser.add_argument("--prompts", type=int, default=64, help="read and answered [default: 64]")
    parser.add_argument("--read-tokens", type=int, default=READ_TOKENS)
    parser.add_argument("--written-tokens", type=int, default=WRITTEN_TOKENS)
    parser.add_argument("--samples", type=int, default=64, help="calibration texts [default: 64]")
    parser.add_argument("--seconds", type=float, default=240, help="limit of a part [default: 240]")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        figures = work(given.part, given.folder, given)
        given.json.write_text(json.dumps([asdict(figure) for figure in figures]))
        return
    import torch

    from comptrust.models import sources, vllm_program

    if given.tokenizer is None:
        given.tokenizer = sources.resolve("builtin:smollm2-135m-instruct").path
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"{where}, torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    parts = PARTS + (WITH_VLLM if vllm_program.found() else ())
    parts = tuple(given.parts.split(",")) if given.parts else parts
    names = ("tokenizer", "prompts", "read_tokens", "written_tokens", "samples")
    words = [f"--{name.replace('_', '-')}={getattr(given, name)}" for name in names]
    found: list[Figure] = []
    for shape in given.shapes.split(","):
        with tempfile.TemporaryDirectory(prefix="comptrust-gpu-") as temporary:
            for part in (f"make:{shape}", *parts):
                began = time.monotonic()
                try:
                    figures = in_process(
                        part, Path(temporary) / "dense", words, seconds=given.seconds
                    )
                except RuntimeError as error:
                    print(f"{shape} {part}: failed: {error}", flush=True)
                    if part.startswith("make"):
                        break
                    continue
                print(f"{shape} {part}: {time.monotonic() - began:.0f} s", flush=True)
                found += [replace(one, name=f"{shape}/{part}/{one.name}") for one in figures]
    report(found, json_to=given.json)


if __name__ == "__main__":
    main()
