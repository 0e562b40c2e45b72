"""Our compression against llm-compressor alone: the same model, calibration tokens and settings,
each job in a process of its own.

    python benchmarks/compression.py --json compression.json

Both sides compress and save a packed checkpoint, and are timed from the loaded model and the chosen
texts on. What only `comptrust compress` does (the logits before, reloading, comparing, measuring,
hashing) is shown beside it; the overhead is what our job and these checks take together beyond the
library's job. The library loads the model as its documentation does. Jobs are done in turns
(library, ours, library, ours) and the least of each side's times counts, since a shared machine has
slow minutes, which a single pair would blame on one side. Perplexity is that of the saved
checkpoint on builtin texts that calibration did not draw; peak memory is the process's up to then,
the most of the turns.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from _measure import Figure, report

METHODS: dict[str, dict[str, Any]] = {
    "gptq": {"bits": 4},
    "awq": {"bits": 4},
    "sparsegpt": {"structure": "2:4"},
    "wanda": {"structure": "2:4"},
}
WAYS = ("library", "ours")
SAMPLES = {"gptq": 32, "awq": 32, "sparsegpt": 32, "wanda": 64}
"""Calibration texts: what `comptrust compress` takes unless told, or half of it for the longer
jobs.
"""
TURNS = 2
LONG = ("awq",)
"""Methods that do one turn: the library takes minutes, and is slower by far more than a machine's
speed varies.
"""
HELD_OUT = 32
"""Texts that perplexity is measured on."""
UNITS = {"seconds": "s", "cpu": "s", "checks": "s", "peak": "MB", "perplexity": "perplexity"}
"""Of one job: seconds by the clock and of all cores, cores' seconds of our checks, peak memory,
perplexity of the checkpoint.
"""


def library(model: Any, method: Any, samples: list[Any], out: Path) -> None:
    """Do what the method does as llm-compressor's documentation does it: one call and one save,
    with its own defaults for AWQ.
    """
    import llmcompressor
    import torch
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.pipelines.cache import IntermediatesCache
    from torch.utils.data import DataLoader

    if not torch.accelerator.is_available():  # its AWQ fails there otherwise
        IntermediatesCache.pin_memory = lambda *_: None  # type: ignore[method-assign]
    name = type(method).__name__.lower()
    recipe: list[Any]
    if name == "gptq":
        recipe = [
            GPTQModifier(
                **method.weights(symmetric=True), actorder="static", dampening_frac=method.dampening
            )
        ]
    elif name == "awq":
        recipe = [AWQModifier(), QuantizationModifier(**method.weights(symmetric=False))]
    else:
        modifier = {"sparsegpt": SparseGPTModifier, "wanda": WandaPruningModifier}[name]
        pattern = method.mask_structure()
        recipe = [
            modifier(
                sparsity=method.sparsity,
                mask_structure=pattern,
                targets=["Linear"],
                ignore=["re:.*lm_head"],
            )
        ]
    rows = [{"input_ids": ids[0], "attention_mask": torch.ones_like(ids[0])} for ids in samples]
    loader: Any = DataLoader(rows, batch_size=1)  # type: ignore[arg-type]
    llmcompressor.oneshot(
        model=model,
        recipe=recipe,
        dataset=loader,
        num_calibration_samples=len(samples),
        pipeline="sequential",
    )
    model.save_pretrained(out, save_compressed=True)


@dataclass(frozen=True)
class Spent:
    """What something took: seconds by the clock, and of all processor cores together."""

    clock: float = 0.0
    cores: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.clock + other.clock, self.cores + other.cores)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.clock - other.clock, self.cores - other.cores)


def now() -> Spent:
    return Spent(time.monotonic(), time.process_time())


def timed(owner: Any, name: str, calls: dict[str, list[Spent]]) -> None:
    """Have a function note in `calls` what each of its calls took."""
    original: Callable[..., Any] = getattr(owner, name)

    def call(*args: Any, **settings: Any) -> Any:
        start = now()
        result = original(*args, **settings)
        calls.setdefault(name, []).append(now() - start)
        return result

    setattr(owner, name, call)


def perplexity(folder: Path, texts: list[str]) -> float:
    """Return a saved checkpoint's perplexity on texts."""
    import torch

    from comptrust.compression import calibration
    from comptrust.models.loading import load

    model, tokenizer = load(folder)
    total, count = 0.0, 0
    with torch.no_grad():
        for ids in calibration.tokenize(texts, tokenizer):
            total += float(model(ids.to(model.device), labels=ids.to(model.device)).loss) * (
                ids.shape[1] - 1
            )
            count += ids.shape[1] - 1
    return math.exp(total / count)


def one(
    way: str, name: str, given: argparse.Namespace, out: Path, *, first: bool
) -> dict[str, float]:
    """Do one job and return its figures; perplexity of the `first` turn only, since the next makes
    the same checkpoint.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from comptrust.compression import base, calibration, oneshot, recipe
    from comptrust.models import loading, sources

    asked = recipe.build(
        model=given.model, method=name, calibration_samples=given.samples, **METHODS[name]
    )
    source = sources.resolve(given.model)
    tokenizer = loading.tokenizer(source.path)
    texts, all_texts = (
        # type: ignore[arg-type]  # only `self` asks it
        calibration.choose("builtin", count=count, seed=0, model=None, tokenizer=tokenizer)
        for count in (given.samples, len(calibration.builtin()))
    )
    calls: dict[str, list[Spent]] = {}
    if way == "library":
        model = AutoModelForCausalLM.from_pretrained(source.path, dtype=torch.float32)
        method, _ = oneshot._fit(asked, base.target_layers(model), lambda line: None)
        start = now()
        library(model, method, calibration.tokenize(texts, tokenizer), out)
        tokenizer.save_pretrained(out)
        job, extra = now() - start, Spent()
    else:
        before = ((sources, "resolve"), (oneshot, "load"), (calibration, "choose"))
        compressing = (
            (calibration, "tokenize"),
            (base.METHODS.get(name), "apply"),
            (oneshot, "_save"),
        )
        for owner, function in before + compressing:
            timed(owner, function, calls)
        start = now()
        oneshot.compress(asked, out=out)
        spent = now() - start
        job = sum((calls[function][0] for _, function in compressing), Spent())
        extra = spent - job - sum((calls[function][0] for _, function in before), Spent())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    held_out = [text for text in all_texts if text not in set(texts)][:HELD_OUT]
    figures = {"seconds": job.clock, "cpu": job.cores, "checks": extra.cores, "peak": peak}
    return figures | ({"perplexity": perplexity(out, held_out)} if first else {})


def process(way: str, name: str, given: argparse.Namespace, *, first: bool) -> dict[str, float]:
    """Do one job in a process of its own and return its figures."""
    with tempfile.TemporaryDirectory(prefix="comptrust-compression-") as folder:
        turn = "first" if first else "again"
        job = ["--job", way, name, str(Path(folder) / "out"), turn]
        job += ["--model", given.model, "--samples", str(given.samples or SAMPLES[name])]
        done = subprocess.run([sys.executable, __file__, *job], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{name} by {way} ended with {done.returncode}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def in_turns(name: str, given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Do a method's jobs and return each side's figures."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(1 if name in LONG else TURNS):
        for way in WAYS:
            found[way].append(process(way, name, given, first=not found[way]))
    return {
        way: {
            key: (max if key == "peak" else min)(turn[key] for turn in turns if key in turn)
            for key in turns[0]
        }
        for way, turns in found.items()
    }


def judged(name: str, theirs: dict[str, float], ours: dict[str, float]) -> list[Figure]:
    """Return how a method's two sides compare, in figures that have goals."""
    faster, overhead = (
        theirs["cpu"] / ours["cpu"],
        (ours["cpu"] + ours["checks"]) / theirs["cpu"] - 1,
    )
    return [
        Figure(f"compression/{name}/faster", faster, "x", ">= 4" if name == "awq" else ">= 0.95"),
        Figure(f"compression/{name}/overhead", 100 * overhead, "%", "<= 5"),
        Figure(
            f"compression/{name}/checks_share", 100 * ours["checks"] / theirs["cpu"], "%", "<= 5"
        ),
        Figure(
            f"compression/{name}/perplexity_change",
            100 * (ours["perplexity"] / theirs["perplexity"] - 1),
            "%",
            "<= 1",
        ),
        Figure(
            f"compression/{name}/peak_change",
            100 * (ours["peak"] / theirs["peak"] - 1),
            "%",
            "<= 1",
        ),
    ]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="builtin:smollm2-135m-instruct")
    parser.add_argument("--samples", type=int, help=f"calibration texts [default: {SAMPLES}]")
    parser.add_argument(
        "--method", action="append", choices=list(METHODS), help="repeatable; all by default"
    )
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--job", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        way, name, out, turn = given.job
        print(json.dumps(one(way, name, given, Path(out), first=turn == "first")))
        return
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "transformers", "llmcompressor")
    )
    print(
        f"{given.model}, calibration texts: {given.samples or SAMPLES}, {os.cpu_count()} CPUs,"
        f" {packages}"
    )
    print(
        f"load of the machine at the start {os.getloadavg()[0]:.1f},"
        f" OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}\n"
    )
    print(
        "| method | way | seconds | CPU seconds | times as fast | checks, CPU seconds | peak MB |"
        " perplexity |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    figures: list[Figure] = []
    for name in given.method or METHODS:
        found = in_turns(name, given)
        theirs, ours = (found[way] for way in WAYS)
        faster = theirs["cpu"] / ours["cpu"]
        for way, one_way in found.items():
            line = (
                f"| {name} | {way} | {one_way['seconds']:.1f} | {one_way['cpu']:.1f} |"
                f" {faster if way == 'ours' else 1:.2f} "
            )
            print(
                f"{line}| {one_way['checks']:.1f} | {one_way['peak']:.0f} |"
                f" {one_way['perplexity']:.2f} |",
                flush=True,
            )
            figures += [
                Figure(f"compression/{name}/{way}/{key}", value, UNITS[key])
                for key, value in one_way.items()
            ]
        figures += judged(name, theirs, ours)
    print()
    report([figure for figure in figures if figure.goal], json_to=None)
    if given.json:
        given.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")


if __name__ == "__main__":
    main()
