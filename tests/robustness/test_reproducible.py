"""The same recipe, seed and versions give the same checkpoint and answers in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
METHODS = {
    "gptq": {"bits": 4, "calibration_samples": 6},
    "awq": {"bits": 4, "calibration_samples": 6},
    "wanda": {"structure": "2:4", "calibration_samples": 6},
    "sparsegpt": {"structure": "2:4", "calibration_samples": 6},
    "magnitude": {"sparsity": 0.5},
}
MAKE = """
import json, sys
from pathlib import Path
from comptrust.compression.oneshot import compress
from comptrust.compression.recipe import build
from comptrust.models.backends.hf import Hf
from comptrust.trust import suite as suites
from comptrust.trust.run import evaluate

model, out, methods = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
suite = suites.load("mini", dimensions=["mmlu", "ethics", "toxicity"], limit=2)
found = {}
for method, options in methods.items():
    made = compress(build(model=model, method=method, seed=7, **options), out=out / method)
    folder = out / f"{method}-answers"
    done = evaluate(Hf(Path(made.path)), suite, out=folder, checkpoint_digest=made.digest)
    found[method] = {
        "checkpoint": made.digest,
        "calibration": made.recipe.calibration_digest,
        "answers": done.scorecard.generations,
    }
print(json.dumps(found))
"""


def make(model: Path, out: Path, *, hash_seed: int) -> dict[str, dict[str, object]]:
    """Compress and ask in a new process, where sets of strings have another order."""
    command = [sys.executable, "-c", MAKE, str(model), str(out), json.dumps(METHODS)]
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_recipe_gives_one_checkpoint_and_one_set_of_answers(
    tiny_model: Path, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    first, second = (make(tiny_model, tmp_path / str(seed), hash_seed=seed) for seed in (1, 2))
    assert first == second
    digests = {str(made["checkpoint"]) for made in first.values()}
    assert len(digests) == len(METHODS), "different methods gave the same bytes"
    tell(
        f"reproducible: {', '.join(METHODS)} gave the same checkpoint digest and the same answers"
        " in two processes"
    )
