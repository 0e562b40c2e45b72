"""Try every model family with every method: `python -m benchmarks.models OUT.json`.

Each cell is a process of its own with a time limit. It builds a tiny random model of the family,
compresses it, and compares what comptrust answers from the checkpoint with `generate` of plain
transformers on the same checkpoint. A cell is "exact" if all texts are equal, with the share of
the language model's matrices that the files hold compressed; or it is the one line of a refusal,
or a fault. The file is written after each cell, and cells that it has are not tried again.

    python -m benchmarks.models OUT.json --families llama,mixtral --methods none,gptq
    python -m benchmarks.models OUT.json --write docs/models.md
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from comptrust import digests
from comptrust.errors import ServiceError, UserError

SECONDS = 600
ANSWER = "CELL "
"""What a cell's process prints before its result."""
METHODS = {
    "none": [],
    "rtn": ["--bits", "4"],
    "gptq": ["--bits", "4"],
    "awq": ["--bits", "4"],
    "magnitude": ["--structure", "2:4"],
    "wanda": ["--structure", "2:4"],
    "sparsegpt": ["--structure", "2:4"],
}
CALIBRATION = ["--calibration-samples", "4"]
TEXTS = (
    "The capital of France is",
    "Water boils at one hundred degrees. A kettle on the stove begins to",
    "A robot went to the market. " * 12 + "There it bought",
    "A robot went to the market. " * 12 + "Nobody saw how it",
    "Count: one, two, three,",
    "Rain falls when warm air rises, cools and can no longer hold its water. " * 4,
)
"""Short and long ones, two with a common beginning."""
NEW_TOKENS = 12
DENSE = re.compile(
    r"embed|lm_head|\bwte\b|\bwpe\b|norm|router|\bgate\b|shared_expert_gate|vision|visual|audio"
    r"|conv|projector"
)
"""Names of tensors that stay dense: embeddings, heads, norms, routers, vision and convolutions."""


def cell(family: str, method: str) -> str:
    """Build, compress and compare; return what happened in one line."""
    from click.testing import CliRunner

    from comptrust.cli.app import comptrust
    from tests.support import families

    with tempfile.TemporaryDirectory() as folder:
        model, out = families.build(family, Path(folder) / family), Path(folder) / "checkpoint"
        words = ["compress", "--model", str(model), "--method", method, *METHODS[method]]
        calibrated = CALIBRATION if method in ("gptq", "awq", "wanda", "sparsegpt") else []
        done = CliRunner().invoke(comptrust, [*words, *calibrated, "--out", str(out)])
        if isinstance(done.exception, (UserError, ServiceError)):
            kind = "refused" if isinstance(done.exception, UserError) else "failed"
            return f"{kind}: {str(done.exception).replace(folder, '')}"
        if done.exception:
            raise done.exception
        equal = sum(_same(out))
        share = f", {_compressed(out, method):.0%} of the matrices" if method != "none" else ""
        whole = "exact" if equal == len(TEXTS) else f"WRONG: {equal} of {len(TEXTS)} texts equal"
        return whole + share


def _same(folder: Path) -> list[bool]:
    """Return for each text whether comptrust's answer is that of plain transformers."""
    import torch

    from comptrust.models.backends.hf import Hf
    from comptrust.models.base import generation
    from comptrust.records import Message, Prompt, Sampling

    backend = Hf(folder, template="plain")
    sampling = Sampling(max_tokens=NEW_TOKENS)
    prompts = [
        Prompt(
            id=str(number),
            dimension="",
            scenario="",
            messages=(Message(role="user", content=text),),
            sampling=sampling,
        )
        for number, text in enumerate(TEXTS)
    ]
    answers = {answer.id: answer.texts[0] for answer in backend.answer(prompts)}
    same = []
    for prompt in prompts:
        ids = backend.tokenizer(backend.render(prompt), return_tensors="pt").input_ids
        with torch.no_grad():
            whole = backend.model.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False)[0]
        new = whole[ids.shape[1] :].tolist()
        text, reason = backend._decoded(ids[0].tolist(), new)
        plain = generation(prompt, texts=[text], finish_reasons=[reason])
        same.append(answers[prompt.id] == plain.texts[0])
    return same


def _compressed(folder: Path, method: str) -> float:
    """Return the share of the matrices, by weights, that the files hold packed or half empty."""
    from comptrust.models import headers

    packed, dense = 0, 0
    for tensor in headers.tensors(folder):
        if DENSE.search(tensor.name) or len(tensor.shape) < 2:
            continue
        if tensor.name.endswith("weight_packed"):
            packed += tensor.count * 8
        elif "weight_scale" not in tensor.name and "zero_point" not in tensor.name:
            zeros = method in ("magnitude", "wanda", "sparsegpt") and _zeros(tensor) >= 0.5
            packed, dense = packed + tensor.count * zeros, dense + tensor.count * (not zeros)
    return packed / (packed + dense)


def _zeros(tensor: object) -> float:
    from safetensors import safe_open

    with safe_open(tensor.path, "pt") as file:  # type: ignore[attr-defined]
        values = file.get_tensor(tensor.name)  # type: ignore[attr-defined]
    return 1 - float(values.count_nonzero()) / values.numel()


def tried(family: str, method: str) -> str:
    """Run one cell in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.models", "--cell", family, method]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"FAULT: not ready after {SECONDS} s"
    results = [line for line in done.stdout.splitlines() if line.startswith(ANSWER)]
    if results:
        return results[-1].removeprefix(ANSWER)
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return f"FAULT: exit {done.returncode}, {last[:200]}"


def page(cells: dict[str, str], families: list[str], methods: list[str]) -> str:
    """Return the matrix as Markdown; each different refusal is a numbered note below it."""
    notes: dict[str, int] = {}
    rows = [["family", *methods], ["---"] * (len(methods) + 1)]
    for family in families:
        row = [f"`{family}`"]
        for method in methods:
            result = cells.get(f"{family} {method}", "not run")
            head, colon, rest = result.partition(": ")
            if colon:
                text = rest.replace(family, "FAMILY").replace("|", "\\|")
                result = f"{head} ({notes.setdefault(text, len(notes) + 1)})"
            row.append(result)
        rows.append(row)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    listed = "\n".join(f"{number}. {text}" for text, number in notes.items())
    return f"{table}\n\n{listed}\n"


def main() -> None:
    """Try the cells that the file does not have, or print one cell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--cell", nargs=2)
    parser.add_argument("--families")
    parser.add_argument("--methods")
    parser.add_argument("--write", type=Path, help="write the matrix of the file's cells here")
    given = parser.parse_args()
    if given.cell:
        print(ANSWER + " ".join(cell(*given.cell).split()), flush=True)
        return
    from tests.support.families import FAMILIES

    families = given.families.split(",") if given.families else list(FAMILIES)
    methods = given.methods.split(",") if given.methods else list(METHODS)
    cells = json.loads(given.out.read_text()) if given.out.exists() else {}
    if given.write:
        given.write.write_text(page(cells, families, methods))
        return
    for family in families:
        for method in methods:
            if (key := f"{family} {method}") not in cells:
                cells[key] = tried(family, method)
                digests.write_atomic(given.out, json.dumps(cells, indent=1))
                print(f"{key}: {cells[key]}", flush=True)


if __name__ == "__main__":
    main()
