"""One sound file of every kind that a command reads, to be damaged."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from comptrust import published
from comptrust.models.base import generation
from comptrust.records import Checkpoint, Generation, Recipe, ReloadCheck, Score, Scorecard
from comptrust.trust import scoring
from comptrust.trust import suite as suites
from tests.support.records import PARTS

DIMENSIONS = ("mmlu", "ethics", "stereotype")
POLICY = {
    "name": "strict",
    "rules": [
        {"rule": "complete", "dimensions": ["mmlu"]},
        {"rule": "max_drop", "points": 5, "evidence": "confident"},
        {"rule": "refusal_shift", "points": 10},
    ],
    "valid_days": 30,
    "suites": [{"name": "mini", "digest": "5" * 64, "items_at_least": {"mmlu": 188}}],
    "sources": {"prod-*": {"base_model": "m", "revision": "r"}},
}
SWEEP = {
    "models": [{"name": "builtin:smollm2-135m-instruct", "parameters": 134515008}],
    "methods": ["gptq", "magnitude"],
    "bits": [4, 8],
    "structure": ["2:4"],
    "seeds": 2,
    "options": {"gptq": {"calibration_samples": 8}},
    "include": [{"method": "gptq", "bits": 3}],
    "exclude": [{"method": "gptq", "seed": 1}],
    "dimensions": ["mmlu"],
    "limit": 2,
    "policy": "staging",
    "resources": {"cpus": 1, "memory_gb": 2.0, "retries": 0},
}
RECIPE = {"model": "./nowhere", "method": "gptq", "bits": 4, "group_size": "64", "options": []}


def answers(limit: int = 2) -> tuple[Any, dict[str, list[Generation]]]:
    """Return the suite mini cut short and an answer to every prompt, by dimension."""
    suite = suites.load("mini", dimensions=DIMENSIONS, limit=limit)
    found: dict[str, list[Generation]] = {name: [] for name in DIMENSIONS}
    for prompt in suite.prompts:
        text = prompt.choices[0].text if prompt.choices else "I agree."
        found[prompt.dimension].append(
            generation(
                prompt,
                texts=[text] * prompt.sampling.n,
                finish_reasons=["stop"] * prompt.sampling.n,
            )
        )
    return suite, found


def evaluation(folder: Path) -> Path:
    """Write a whole evaluation and return its scorecard."""
    suite, found = answers()
    (folder / "generations").mkdir(parents=True)
    files = {}
    for name, rows in found.items():
        from comptrust.trust.generations import write_generations

        files[name] = write_generations(folder / "generations" / f"{name}.jsonl", rows)
    (folder / "suite.json").write_text(suite.manifest().model_dump_json())
    recipe = Recipe(base_model="somewhere", revision="r", method="gptq", bits=4, group_size=64)
    record = Checkpoint(
        recipe=recipe,
        path="x",
        digest="c" * 64,
        manifest={"model.safetensors": "d" * 64},
        bytes=500,
        dense_bytes=1000,
        effective_bits=4.5,
        sparsity=0,
        parts=PARTS,
        reload_check=ReloadCheck(max_logit_difference=0, tolerance=1, n_tokens=1),
        versions={"torch": "2"},
    )
    (folder / "checkpoint.json").write_text(record.model_dump_json())
    card = Scorecard(
        checkpoint_digest="c" * 64,
        suite_digest=suite.digest,
        rendering_digest="e" * 64,
        generations=files,
        scores=scoring.score(chain(*found.values()), suite=suite.manifest(), dimensions=found),
        provenance={"code_version": "0.1.0"},
    )
    (folder / "scorecard.json").write_text(card.model_dump_json(indent=1))
    return folder / "scorecard.json"


def card(value: float = 80.0) -> dict[str, Any]:
    """Return a scorecard without answers."""
    scores = tuple(
        Score(dimension=name, value=value, refusal_rate=1.0, n_prompts=40, n_scored=40)
        for name in DIMENSIONS
    )
    fields = {
        "suite_digest": "b" * 64,
        "rendering_digest": "e" * 64,
        "generations": {},
        "provenance": {"code_version": "0.1.0"},
    }
    return Scorecard(checkpoint_digest="a" * 64, scores=scores, **fields).model_dump(mode="json")


def table() -> list[list[str]]:
    """Return a published table: a dense row and a compressed one."""
    header = [
        *published.DESCRIPTION,
        *published.REFUSALS.values(),
        *published.SCORES.values(),
        "Average",
    ]
    numbers = ["0.5" if column in published.FRACTIONS else "50" for column in header[5:]]
    dense = ["Base", "none", "none", "16", "hf/meta-llama/Base-hf", *numbers]
    return [
        header,
        dense,
        [
            "Base",
            "quantization",
            "GPTQ",
            "3",
            "hf/compressed-llm/base-gptq@3bit_128g_seed0_llama-2",
            *numbers,
        ],
    ]


def csv_text(rows: list[list[str]]) -> str:
    """Return rows as CSV."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


STRANGE: tuple[Any, ...] = (
    None,
    "",
    "no\nnumber\x1b[31m",
    -1,
    10**400,
    1.5,
    True,
    [],
    {},
    [[[[]]]],
    "x" * 5000,
    "\ud800",
    "a\0b",
    "../../x",
)


def damages(value: Any) -> Iterator[Any]:
    """Yield copies of plain data, each with one place removed, or replaced by one of the strange
    values.
    """
    for path in _paths(value):
        yield _changed(value, path, remove=True)
        for strange in STRANGE:
            yield _changed(value, path, put=strange)
    yield from STRANGE


def _paths(value: Any) -> Iterator[tuple[str | int, ...]]:
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield (key,)
        for rest in _paths(inner):
            yield (key, *rest)


def _changed(
    value: Any, path: tuple[str | int, ...], *, remove: bool = False, put: Any = None
) -> Any:
    copied = json.loads(json.dumps(value))
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    if remove:
        del inner[path[-1]]
    else:
        inner[path[-1]] = put
    return copied


def broken(content: bytes) -> Iterator[bytes]:
    """Yield a file's bytes broken in ways that no structure explains: cut, torn, of another
    encoding, of another kind, deep, huge.
    """
    yield b""
    for part in (1, 3, 7):
        yield content[: len(content) * part // 8]
    yield content[: len(content) // 2] + b"\x00" + content[len(content) // 2 :]
    yield b"\xff\xfe" + content.decode().encode("utf-16-le")
    yield content.replace(b'"', b"\xc3", 3)
    yield b"PK\x03\x04" + content
    yield b"[" * 100_000
    yield b'{"a": ' * 5_000
    yield b"9" * 10_000
    yield b"NaN"
    yield b"1e999"
    yield b"<html><script>alert(1)</script></html>"
    yield b"\r\n\r\n"
