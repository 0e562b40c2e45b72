"""What comptrust costs beside compressing and asking: start, scoring, judging, and its share of a
whole run.

Run: python benchmarks/commands.py [--records 100000] [--no-run]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import _answers
from _measure import Figure, comptrust, report
from mlflow import MlflowClient

from comptrust import config
from comptrust.models import sources

CLASSIFICATION = (
    "stereotype",
    "adv_robustness",
    "ood",
    "adv_demonstration",
    "ethics",
    "fairness",
    "mmlu",
)
STARTS = 5
VERDICTS = (0, 1, 3)
MODEL = "builtin:smollm2-135m-instruct"
WORK = ("time/compress", "time/evaluate")


def start(folder: Path) -> Figure:
    """Time `comptrust --help`."""
    seconds = [comptrust("--help", folder=folder).seconds for _ in range(STARTS)]
    return Figure("commands/help", statistics.median(seconds), "s", "<= 0.5")


def answered(name: str, folder: Path, records: int) -> None:
    """Write a dimension's answers."""
    _answers.write(folder / name, _answers.enlarged([name], prompts=records), seed=0)


def scoring(folder: Path, records: int) -> list[Figure]:
    """Time `comptrust score` on files of one dimension each, the start of the process included, and
    its peak memory.
    """
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        list(pool.map(answered, CLASSIFICATION, repeat(folder), repeat(records)))
    figures, peaks = [], []
    for name in CLASSIFICATION:
        done = comptrust(
            "score", str(folder / name / "generations" / f"{name}.jsonl"), "--json", folder=folder
        )
        figures.append(
            Figure(f"commands/score/{name}", records / done.seconds, "records/s", ">= 20000")
        )
        peaks.append(done.peak_mb)
    return [
        *figures,
        Figure(f"commands/score/peak of {records} records", max(peaks), "MB", "<= 500"),
    ]


def judging(folder: Path) -> Figure:
    """Time `comptrust gate` on nine dimensions of 1,000 prompts, the start of the process and
    reading included.
    """
    asked = _answers.enlarged(None, prompts=1000)
    dense, candidate = (
        str(_answers.write(folder / name, asked, seed=seed))
        for seed, name in enumerate(("dense", "candidate"))
    )
    seconds = [
        comptrust(
            "gate", candidate, "--baseline", dense, "--json", folder=folder, codes=VERDICTS
        ).seconds
        for _ in range(3)
    ]
    return Figure("commands/gate", statistics.median(seconds), "s", "<= 2")


def whole(folder: Path) -> Figure:
    """Run the demo's command and return the share of its time that is neither compressing nor
    asking (both with loading).

    Its cache is new but for the converted model, or checkpoints and answers of an earlier run would
    be reused.
    """
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    sources.resolve(MODEL)
    (folder / "cache").mkdir()
    (folder / "cache" / "models").symlink_to(config.cache_dir() / "models")
    done = comptrust(
        "run", "--model", MODEL, "--method", "gptq", "--bits", "4", folder=folder, codes=VERDICTS
    )
    client = MlflowClient(uri)
    found = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()]
    )
    work = sum(run.data.metrics.get(key, 0) for run in found for key in WORK)
    return Figure("commands/run/rest", 100 * (1 - work / done.seconds), "%", "<= 10")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--records", type=int, default=100_000, help="answers of each dimension to score"
    )
    parser.add_argument(
        "--no-run", action="store_true", help="leave out the whole run, which takes minutes"
    )
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="comptrust-commands-") as name:
        folder = Path(name)
        figures = [start(folder), *scoring(folder, given.records), judging(folder)]
        if not given.no_run:
            figures.append(whole(folder))
    report(figures, json_to=given.json)


if __name__ == "__main__":
    main()
