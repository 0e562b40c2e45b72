"""How time and memory grow with the work: each job at 1, 4 and 16 times the work, and the exponent
fitted to it.

Run: python benchmarks/growth.py [--model builtin:smollm2-135m-instruct] [--only score,gate,...]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import _answers
from _measure import Figure, comptrust, exponent, report

TIMES = (1, 4, 16)
VERDICTS = (0, 1, 3)
Job = Callable[[Path, int, str], float]
"""Does so many times the work in an empty folder and returns the seconds that grow with it."""


def score(folder: Path, times: int, model: str) -> float:
    """Score 6,250 answers; the last of the sizes is 100,000."""
    _answers.write(folder, _answers.enlarged(["ethics"], prompts=6250 * times), seed=0)
    return comptrust("score", "generations/ethics.jsonl", "--json", folder=folder).seconds


def gate(folder: Path, times: int, model: str) -> float:
    """Judge nine dimensions of 250 prompts."""
    asked = _answers.enlarged(None, prompts=250 * times)
    dense, candidate = (
        str(_answers.write(folder / name, asked, seed=seed))
        for seed, name in enumerate(("dense", "candidate"))
    )
    return comptrust(
        "gate", candidate, "--baseline", dense, "--json", folder=folder, codes=VERDICTS
    ).seconds


def evaluate(folder: Path, times: int, model: str) -> float:
    """Ask 24 prompts: 8 that choose, 16 that generate."""
    from comptrust.models import sources
    from comptrust.models.backends.hf import Hf
    from comptrust.trust import suite

    asked = [
        _answers.enlarged([name], prompts=count * times)
        for name, count in (("ethics", 8), ("ood", 8), ("privacy", 8))
    ]
    backend = Hf(sources.resolve(model).path)
    list(
        backend.answer(suite.load("mini", limit=1).prompts[:4])
    )  # the first answers pay for what is made once
    began = time.perf_counter()
    answers = sum(len(list(backend.answer(one.prompts))) for one in asked)
    assert answers == 24 * times
    return time.perf_counter() - began


def compress(folder: Path, times: int, model: str) -> float:
    """Prune with Wanda on 4 calibration texts: the method with the least work that does not grow
    with them.
    """
    from comptrust.compression.oneshot import compress as make
    from comptrust.compression.recipe import build

    recipe = build(model=model, method="wanda", structure="2:4", calibration_samples=4 * times)
    began = time.perf_counter()
    make(recipe, out=folder / "out")
    return time.perf_counter() - began


def registry(folder: Path, times: int, model: str) -> float:
    """Ask the guarded registry for a version 200 times, among 20 versions."""
    from enforcement import MODEL, build
    from mlflow.entities.model_registry import ModelVersionTag

    store = build(folder)["guarded"].store
    for number in range(20 * times):
        store.create_model_version(MODEL, "s3://b/m", tags=[ModelVersionTag("note", str(number))])
    began = time.perf_counter()
    for number in range(200):
        store.set_model_version_tag(MODEL, "1", ModelVersionTag("note", str(number)))
    return time.perf_counter() - began


JOBS: Mapping[str, Job] = {
    "score": score,
    "gate": gate,
    "evaluate": evaluate,
    "compress": compress,
    "registry": registry,
}


def alone(name: str, times: int, model: str) -> float:
    """Do a job in a process of its own, so that nothing is left of the one before."""
    with (
        tempfile.TemporaryDirectory(prefix="comptrust-growth-") as folder,
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
    ):
        return pool.submit(JOBS[name], Path(folder), times, model).result()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="builtin:smollm2-135m-instruct")
    parser.add_argument("--only", default=",".join(JOBS))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures = []
    for name in given.only.split(","):
        seconds = [alone(name, times, given.model) for times in TIMES]
        figures += [
            Figure(f"growth/{name}/x{times}", taken, "s")
            for times, taken in zip(TIMES, seconds, strict=True)
        ]
        figures.append(Figure(f"growth/{name}/exponent", exponent(TIMES, seconds), "", "<= 1.05"))
    report(figures, json_to=given.json)


if __name__ == "__main__":
    main()
