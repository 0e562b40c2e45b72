"""The library leaves the process as it was: logs, bars, warnings, environment, collector.

Only a program of its own (the command line, a cell of a sweep) may change them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORK = """
import gc, json, logging, os, sys, warnings
import loguru, torch, tqdm
from transformers import modeling_utils
from transformers.utils import logging as transformers_logging

def state():
    return {
        "handlers": sorted(loguru.logger._core.handlers),
        "bars": id(vars(tqdm.tqdm)["__init__"]),
        "transformers' bars": transformers_logging.is_progress_bar_enabled(),
        "transformers' log": transformers_logging.get_verbosity(),
        "safe_open": id(modeling_utils.safe_open),
        "logging": logging.root.manager.disable,
        "warnings": ("ignore", None, Warning, None, 0) in warnings.filters,
        "collector": gc.isenabled(),
        "environment": dict(os.environ),
        "stdout": id(sys.stdout),
    }

loguru.logger.remove()
loguru.logger.add(lambda line: None)  # the host program's own
before = state()
from pathlib import Path
from comptrust.compression import oneshot
from comptrust.compression.recipe import build
from comptrust.models.backends.hf import Hf
from comptrust.trust import suite

recipe = build(model=sys.argv[1], method="gptq", bits=4, group_size=32, calibration_samples=2)
record = oneshot.compress(recipe, out=Path(sys.argv[2]))
prompts = suite.load("mini", limit=1).prompts
assert len(list(Hf(Path(sys.argv[2])).answer(prompts))) == len(prompts)
after = state()
print(json.dumps([before, after]), file=open(sys.argv[3], "w"))
"""


def test_compressing_and_answering_leave_the_process_alone(
    tiny_model: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(tiny_model), str(tmp_path / "out"), str(report)],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("TQDM_")},
    )
    assert done.returncode == 0, done.stderr
    before, after = json.loads(report.read_text())
    assert after == before
    assert done.stdout == ""


@pytest.mark.parametrize(("options", "noisy"), [([], False), (["-v"], True)])
def test_the_command_line_hides_other_libraries(
    options: list[str], noisy: bool, tiny_model: Path, tmp_path: Path
) -> None:
    line = [*options, "compress", "--model", str(tiny_model), "--method", "gptq", "--bits", "4"]
    line += ["--group-size", "32", "--calibration-samples", "2", "--json"]
    line += ["--out", str(tmp_path / "out")]
    names = ("TQDM_", "LLM_COMPRESSOR_", "COMPRESSED_TENSORS_", "TRANSFORMERS_VERBOSITY")
    done = subprocess.run(
        [sys.executable, "-c", "from comptrust.cli.main import main; main()", *line],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith(names)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recipe"]["method"] == "gptq"
    assert ("it/s" in done.stderr and "llmcompressor" in done.stderr) is noisy
    if not noisy:
        assert len(done.stderr.splitlines()) == 6, done.stderr
