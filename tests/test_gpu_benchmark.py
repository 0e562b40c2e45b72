"""The benchmark that is kept ready for a GPU runs to its end on a tiny model without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORDS = (
    "--shapes tiny --parts estimate,hf,packed,compress:fp8,compress:gptq,vllm:awq --prompts 4"
    " --read-tokens 64 --written-tokens 8 --samples 4 --seconds 3000"
)


@pytest.mark.slow
def test_every_part_is_measured_and_a_failing_one_stops_no_other(
    tmp_path: Path, tiny_model: Path
) -> None:
    out = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu.py", *WORDS.split()]
        + ["--tokenizer", tiny_model, "--json", out],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COMPTRUST_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    found = {figure["name"]: figure["value"] for figure in json.loads(out.read_text())}
    for part in ("hf", "packed"):
        assert found[f"tiny/{part}/read"] > 0 and found[f"tiny/{part}/written"] > 0
    assert found["tiny/packed/texts of 8 as Packed"] == 8
    for method in ("fp8", "gptq"):
        assert found[f"tiny/compress:{method}/time"] > 0 < found[f"tiny/compress:{method}/files"]
    assert found["tiny/estimate/estimated"] * 1e9 == 4 * found["tiny/estimate/weights"]
    assert "tiny vllm:awq: failed: " in done.stdout and "tiny/hf/read" in done.stdout
