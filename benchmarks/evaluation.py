"""Answers per second of the backend `hf`, of lm-evaluation-harness and of vLLM on the same prompts:
`python benchmarks/evaluation.py DATA`.

DATA is DecodingTrust's data folder; 200 prompts of each of four kinds are drawn from it and
answered greedily, each set in turn by us and by each peer. A peer is an interpreter that has
lm-eval (`--harness PYTHON`) or vLLM (`--vllm PYTHON`, or COMPTRUST_VLLM); it answers the first
prompts of each kind, its time is scaled to all, and the texts are compared. The harness tries
batches of several sizes, of which the fastest counts; vLLM makes its own. Loading and warming up do
not count. Each peer has an environment of its own, with its newest packages:

    python3.11 -m venv harness && harness/bin/pip install lm-eval==0.4.13 transformers torch
    python benchmarks/evaluation.py DATA --harness harness/bin/python --dtype float32

CPU seconds are printed too: they tell more than the clock where other work goes on beside this.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from _measure import Figure, report

from comptrust.models.backends.hf import Hf
from comptrust.models.inference.reading import Reader
from comptrust.models.sources import resolve
from comptrust.records import Prompt, Sampling
from comptrust.trust import suite

SETS: dict[str, tuple[str, str]] = {
    "stereotype": ("stereotype", ""),
    "ood style 8-shot": ("ood", "style_fewshot/"),
    "adv_demonstration": ("adv_demonstration", ""),
    "privacy PII": ("privacy", "pii/"),
}
BATCHES = (1, 8, 16, 32)
"""Sizes tried of the harness."""
TIE = 1e-3
"""Difference of two logits below which either token may come first: the order of summation
decides."""
SHAPES = ((512, 576, 576), (512, 576, 1536), (512, 1536, 576))
"""Rows, inner and outer size of the embedded model's matrix products."""


@dataclass(frozen=True)
class Answers:
    """What one side answered to a set, and how long it took."""

    texts: list[str]
    seconds: float
    cpu: float
    prompts: int | None = None
    """Prompts that the seconds are for, where they were scaled from those that have texts."""

    @property
    def count(self) -> int:
        """Prompts that the seconds are for."""
        return self.prompts or len(self.texts)

    @property
    def rate(self) -> float:
        """Prompts per second."""
        return self.count / self.seconds

    def scaled(self, count: int) -> Answers:
        """Return what so many prompts would take, where each batch is computed for itself."""
        times = count / len(self.texts)
        return replace(self, seconds=self.seconds * times, cpu=self.cpu * times, prompts=count)


@dataclass
class Tally:
    """What a peer answered to all sets so far, compared with us."""

    answers: list[Answers]
    compared: int = 0
    same: int = 0
    apart: int = 0
    """Texts that differ where no tie explains it."""


class Peer:
    """Another side, a process that answers lines."""

    def __init__(self, name: str, python: str, model: Path, *, dtype: str) -> None:
        self.name = name
        self.batches = BATCHES if name == "harness" else ()
        script = Path(__file__).with_name(f"_{name}.py")
        command = [python, str(script), str(model), dtype]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._line()

    def answer(self, texts: Sequence[str], *, max_tokens: int, batch_size: int) -> Answers:
        """Return its greedy answers."""
        assert self.process.stdin
        self.process.stdin.write(
            json.dumps({"texts": texts, "max_tokens": max_tokens, "batch_size": batch_size}) + "\n"
        )
        self.process.stdin.flush()
        return Answers(**self._line())

    def best(self, texts: Sequence[str], *, max_tokens: int) -> tuple[int, Answers]:
        """Answer with each batch size, all texts at once being the largest, and return the one that
        was fastest, and its answers.
        """
        sizes = sorted({min(size, len(texts)) for size in self.batches}) or [len(texts)]
        tried = {size: self.answer(texts, max_tokens=max_tokens, batch_size=size) for size in sizes}
        return max(tried.items(), key=lambda pair: pair[1].rate)

    def _line(self) -> Any:
        """Return the next JSON line; others print there too."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"{self.name} ended with {self.process.wait()}; see above.")


def drawn(data: str, name: str, *, limit: int) -> list[Prompt]:
    """Return `limit` prompts of a set, by a seed, to be answered greedily."""
    dimension, begin = SETS[name]
    loaded = suite.load(f"decodingtrust:{data}", dimensions=[dimension])
    kept = [prompt for prompt in loaded.prompts if prompt.scenario.startswith(begin)]
    chosen = random.Random(0).sample(kept, min(limit, len(kept)))
    return [
        prompt.model_copy(update={"sampling": Sampling(max_tokens=prompt.sampling.max_tokens)})
        for prompt in chosen
    ]


def ours(backend: Hf, prompts: Sequence[Prompt]) -> Answers:
    """Answer with the backend, in the prompts' order."""
    wall, cpu = time.perf_counter(), time.process_time()
    texts = {answer.id: answer.texts[0] for answer in backend.answer(prompts)}
    return Answers(
        [texts[prompt.id] for prompt in prompts],
        time.perf_counter() - wall,
        time.process_time() - cpu,
    )


def is_tie(backend: Hf, prompt: Prompt, texts: Sequence[str]) -> bool:
    """Tell whether texts that differ part where the two likeliest tokens of a plain computation,
    one row without a cache, are even.
    """
    ids = backend.tokenizer(backend.render(prompt), add_special_tokens=False)["input_ids"]
    new: list[int] = []
    while len(new) < prompt.sampling.max_tokens:
        with torch.inference_mode():
            logits = backend.model(
                torch.tensor([ids + new]), use_cache=False, logits_to_keep=1
            ).logits[0, -1]
        first, second = logits.topk(2).values.tolist()
        new.append(int(logits.argmax()))
        text = backend.tokenizer.decode(new, skip_special_tokens=True).rstrip("\ufffd")
        if new[-1] in backend.ends or not all(one.startswith(text) for one in texts):
            return first - second < TIE
    return False


def best(work: Callable[[], object], *, times: int) -> float:
    """Return the least seconds that the work took."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def peak() -> float:
    """Return the most GFLOP/s that a float32 matrix product of the model's shapes reaches here."""
    rates = []
    with torch.inference_mode():
        for rows, inner, outer in SHAPES:
            left, right = torch.randn(rows, inner), torch.randn(outer, inner)
            rates.append(
                20
                * 2
                * rows
                * inner
                * outer
                / best(lambda a=left, b=right: [a @ b.T for _ in range(20)], times=10)
                / 1e9
            )
    return max(rates)


def prefill(backend: Hf, prompts: Sequence[Prompt]) -> tuple[float, float]:
    """Return tokens/s and GFLOP/s (2 for each weight and token) of reading prompts, counting the
    tokens that are computed.
    """
    rows = {
        tuple(backend.tokenizer(backend.render(prompt), add_special_tokens=False)["input_ids"])
        for prompt in prompts
    }
    limits = {row: len(row) - 1 for row in rows}
    tree = Reader(backend.model, limits).tree
    nodes = {node for path in tree.values() for node in path}
    own = sum(len(row) - (path[-1].end if path else 0) for row, path in tree.items())
    tokens = own + sum(len(node.ids) for node in nodes)
    seconds = best(
        lambda: list(Reader(backend.model, limits).read(rows, keep=dict.fromkeys(rows, 1))), times=3
    )
    head = backend.model.get_output_embeddings().weight.numel()
    weights = sum(one.numel() for one in backend.model.parameters()) - head
    return tokens / seconds, 2 * (weights * tokens + head * len(rows)) / seconds / 1e9


def main() -> None:
    """Print a row for each set, all of them together, and what share of the machine's matrix
    products the reading of prompts reaches.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="DecodingTrust's data folder")
    parser.add_argument("--model", default="builtin:smollm2-135m-instruct")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--harness", help="a Python that has lm-eval")
    parser.add_argument(
        "--vllm", help="a Python that has vLLM", default=os.getenv("COMPTRUST_VLLM")
    )
    parser.add_argument(
        "--peer-limit",
        type=int,
        default=32,
        help="prompts of each set that a peer answers, the first ones [default: 32]",
    )
    parser.add_argument("--limit", type=int, default=200, help="prompts of each set [default: 200]")
    parser.add_argument("--batch-size", type=int, help="ours [default: the backend's]")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    path = resolve(given.model).path
    backend = Hf(path, batch_size=given.batch_size, dtype=given.dtype)
    peers = [
        Peer(name, python, path, dtype=given.dtype)
        for name, python in (("harness", given.harness), ("vllm", given.vllm))
        if python
    ]
    print(
        f"{given.dtype}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f},"
        f" {type(backend.engine).__name__}",
        flush=True,
    )
    head = "| set | prompts | tokens | ours, s | ours, CPU s | ours, prompts/s |"
    for peer in peers:
        head += f" {peer.name}: batch (prompts asked) | s for all | CPU s | prompts/s | ratio |"
        head += " CPU ratio | same text | apart, no tie |"
    print(f"{head}\n|{'---|' * (head.count('|') - 1)}")
    figures: list[Figure] = []
    mine, tokens = [], 0
    theirs = {peer.name: Tally([]) for peer in peers}
    for name in SETS:
        prompts = drawn(given.data, name, limit=given.limit)
        texts = [backend.render(prompt) for prompt in prompts]
        count = sum(
            len(backend.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts
        )
        tokens += count
        most = prompts[0].sampling.max_tokens
        mine.append(ours(backend, prompts))
        cells = [
            name,
            str(len(prompts)),
            str(count),
            f"{mine[-1].seconds:.1f}",
            f"{mine[-1].cpu:.1f}",
            f"{mine[-1].rate:.2f}",
        ]
        figures.append(Figure(f"evaluation/{name}", mine[-1].rate, "prompts/s"))
        for peer in peers:
            size, found = peer.best(texts[: given.peer_limit], max_tokens=most)
            tally = theirs[peer.name]
            tally.answers.append(found.scaled(len(prompts)))
            differ = [
                at
                for at, pair in enumerate(zip(mine[-1].texts, found.texts, strict=False))
                if pair[0] != pair[1]
            ]
            apart = sum(
                not is_tie(backend, prompts[at], (mine[-1].texts[at], found.texts[at]))
                for at in differ
            )
            tally.compared += len(found.texts)
            tally.same += len(found.texts) - len(differ)
            tally.apart += apart
            cells += [f"{size} ({len(found.texts)})", *versus(mine[-1], tally.answers[-1])]
            cells += [f"{1 - len(differ) / len(found.texts):.1%}", str(apart)]
            ratio = tally.answers[-1].seconds / mine[-1].seconds
            figures.append(Figure(f"evaluation/{name}/{ratio_of(peer.name)}", ratio, "x"))
        print(f"| {' | '.join(cells)} |", flush=True)
    total = together(mine)
    cells = [
        "all",
        str(total.count),
        str(tokens),
        f"{total.seconds:.1f}",
        f"{total.cpu:.1f}",
        f"{total.rate:.2f}",
    ]
    figures.append(Figure("evaluation/all", total.rate, "prompts/s"))
    for peer, tally in theirs.items():
        other = together(tally.answers)
        cells += ["", *versus(total, other), f"{tally.same / tally.compared:.1%}", str(tally.apart)]
        ratio, goal = other.seconds / total.seconds, ">= 4" if peer == "harness" else ">= 2"
        figures.append(Figure(f"evaluation/all/{ratio_of(peer)}", ratio, "x", goal))
        figures.append(
            Figure(f"evaluation/all/{peer}, texts apart, no ties", tally.apart, "texts", "<= 0")
        )
    print(f"| {' | '.join(cells)} |", flush=True)
    rate, reached = prefill(backend, prompts[:32])
    possible = peak()
    print(f"reading prompts: {rate:.0f} tokens/s, {reached:.0f} of {possible:.0f} GFLOP/s\n")
    figures.append(
        Figure(
            "evaluation/share of the matrix product peak", 100 * reached / possible, "%", ">= 60"
        )
    )
    report(figures, json_to=given.json)


def ratio_of(peer: str) -> str:
    """Return what a figure calls the ratio to a peer; the harness was the only one for long."""
    return "ratio" if peer == "harness" else f"ratio to {peer}"


def versus(mine: Answers, theirs: Answers) -> list[str]:
    """Return the cells of the other side."""
    ratios = [f"{theirs.seconds / mine.seconds:.2f}", f"{theirs.cpu / mine.cpu:.2f}"]
    return [f"{theirs.seconds:.1f}", f"{theirs.cpu:.1f}", f"{theirs.rate:.2f}", *ratios]


def together(answers: Sequence[Answers]) -> Answers:
    """Return all sets as one."""
    return Answers(
        [],
        sum(one.seconds for one in answers),
        sum(one.cpu for one in answers),
        sum(one.count for one in answers),
    )


if __name__ == "__main__":
    main()
