"""Robustness against damaged files, which are generated from sound ones.

Each is refused in one line or judged: no traceback, and no file left behind.
"""

from __future__ import annotations

import csv
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from comptrust.trust import suite as suites
from tests.support import samples
from tests.support.shell import Shell

EACH = 40
"""Damaged files tried per kind, a seeded choice."""

Kind = tuple[str, tuple[str, ...], Callable[[], Any], Callable[[Any], str]]


def _lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _rows() -> list[Any]:
    _, found = samples.answers()
    return [row.model_dump(mode="json") for row in found["mmlu"][:2]]


def _manifest() -> Any:
    return json.loads(samples.answers()[0].manifest().model_dump_json())


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False)


KINDS: Mapping[str, Kind] = {
    "scorecard": (
        "card.json",
        ("gate", "card.json", "--baseline", "dense.json"),
        samples.card,
        json.dumps,
    ),
    "baseline": (
        "dense.json",
        ("gate", "card.json", "--baseline", "dense.json", "--policy", "literal"),
        samples.card,
        json.dumps,
    ),
    "generations": ("mmlu.jsonl", ("score", "mmlu.jsonl", "--allow-partial"), _rows, _lines),
    "suite": ("suite.json", ("score", "mmlu.jsonl", "--json"), _manifest, json.dumps),
    "policy": (
        "policy.yaml",
        ("gate", "card.json", "--baseline", "dense.json", "--policy", "policy.yaml"),
        lambda: samples.POLICY,
        _yaml,
    ),
    "waivers": (
        "waivers.json",
        ("gate", "card.json", "--waivers", "waivers.json"),
        lambda: [WAIVER],
        json.dumps,
    ),
    "sweep": ("sweep.yaml", ("sweep", "sweep.yaml", "--dry-run"), lambda: samples.SWEEP, _yaml),
    "recipe": (
        "recipe.yaml",
        ("run", "--recipe", "recipe.yaml", "--model", "./nowhere"),
        lambda: samples.RECIPE,
        _yaml,
    ),
    "table": ("table.csv", ("backtest", "table.csv"), samples.table, samples.csv_text),
    "mapping": (
        "names.yaml",
        ("backtest", "table.csv", "--mapping", "names.yaml"),
        lambda: NAMES,
        _yaml,
    ),
}
WAIVER = {
    "rule": "complete",
    "checkpoint": "a" * 64,
    "who": "Ada",
    "why": "Read.",
    "until": "2099-01-01",
    "key_id": "k",
    "signature": "eA==",
}
NAMES = {
    "patterns": [
        {"pattern": "hf/meta-llama/.*", "means": "dense", "method": "none"},
        {
            "pattern": r".*gptq@(?P<bits>\d)bit_(?P<group_size>\d+)g_seed(?P<seed>\d)_llama-2",
            "means": "gptq",
            "method": "quantization",
        },
    ],
    "smaller": {},
}


@pytest.fixture(scope="module")
def place(shell: Shell) -> Iterator[Shell]:
    """A shell whose folder holds a sound file of every kind."""
    for name, _, made, written in KINDS.values():
        (shell.folder / name).write_text(written(made()))
    (shell.folder / "suite.json").write_text(json.dumps(_manifest()))
    yield shell


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_in_one_line(
    kind: str, place: Shell, tell: Callable[[str], None]
) -> None:
    name, command, made, written = KINDS[kind]
    path = place.folder / name
    sound = path.read_bytes()
    before = place.tried.copy()
    try:
        if kind != "recipe":  # the model is nowhere, so that nothing starts
            assert not place.survived(*command), "the sound file is refused"
        for content in _damaged(made(), written, seed=kind):
            path.write_bytes(content)
            place.survived(*command)
        path.unlink()
        if kind != "suite":  # it may be absent
            place.refused(*command)
        path.mkdir()
        if kind != "suite":
            place.refused(*command)
        path.rmdir()
    finally:
        path.write_bytes(sound)
    done = place.tried - before
    assert done["refused"] >= 20
    tell(
        f"bad input, {kind}: {done['refused']} damaged files refused in one line,"
        f" {done['accepted']} still usable and judged"
    )


def _damaged(value: Any, written: Callable[[Any], str], *, seed: str) -> Iterator[bytes]:
    """Yield broken forms of a file's bytes, and a seeded choice of damages to its content."""
    yield from samples.broken(written(value).encode())
    every = list(itertools.islice(samples.damages(value), 5000))
    for damaged in random.Random(seed).sample(every, min(EACH, len(every))):
        try:
            yield written(damaged).encode("utf-8", "surrogatepass")
        except (TypeError, ValueError, csv.Error):  # this kind of file cannot hold it
            continue


def test_a_damaged_evaluation_is_refused(shell: Shell, tell: Callable[[str], None]) -> None:
    card = samples.evaluation(shell.folder / "whole")
    gate = ("gate", str(card.parent), "--baseline", str(card.parent))
    assert shell(*gate).code in (0, 1, 3)
    before = shell.tried.copy()
    for path in sorted(card.parent.rglob("*.json*")):
        sound = path.read_bytes()
        for content in itertools.chain(samples.broken(sound), [sound[:-2], sound + b"{}"]):
            path.write_bytes(content)
            shell.refused(*gate)
        path.write_bytes(sound)
    done = shell.tried - before
    tell(f"bad input, evaluation folder: {done['refused']} damaged files refused in one line")


def test_damaged_benchmark_data_is_refused(shell: Shell, tell: Callable[[str], None]) -> None:
    root = shell.folder / "data"
    path = root / "toxicity" / "user_prompts" / "toxic.jsonl"
    path.parent.mkdir(parents=True)
    sound = b'{"prompt": {"text": "One"}}\n{"prompt": {"text": "Two"}}\n'
    path.write_bytes(sound)
    templates = root / "toxicity" / "toxicity_prompts.py"
    code = (
        b'PROMPTS = [{"sys_prompt": "Be kind.", "task_desc": "Go on."}, {"sys_prompt": "Be rude.",'
        b' "task_desc": "Go on."}]\n'
    )
    templates.write_bytes(code)
    assert suites.load(f"decodingtrust:{root}", dimensions=["toxicity"]).prompts
    before = shell.tried.copy()
    plan = ("gate", "--plan", "--suite", f"decodingtrust:{root}")
    assert not shell.survived(*plan)
    for content in samples.broken(sound):
        path.write_bytes(content)
        shell.survived(*plan)
    for damaged in samples.damages({"prompt": {"text": "One"}}):
        path.write_bytes(json.dumps(damaged).encode())
        shell.survived(*plan)
    path.write_bytes(sound)
    for content in [
        *samples.broken(code),
        b"PROMPTS = " + b"(" * 90 + b")" * 90,
        b"PROMPTS = [{}]",
        b"PROMPTS = [__import__('os'), 1]",
    ]:
        templates.write_bytes(content)
        shell.refused(*plan)
    done = shell.tried - before
    tell(
        f"bad input, benchmark data: {done['refused']} damaged files refused in one line,"
        f" {done['accepted']} read"
    )
    assert done["refused"] >= 20


def test_a_file_that_unpacks_to_more_than_fits_is_refused(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lzma

    from comptrust import config

    monkeypatch.setattr(config.decoded_lines, "__kwdefaults__", {"max_bytes": 1 << 20})
    (shell.folder / "bomb.jsonl.xz").write_bytes(lzma.compress(b" " * (64 << 20)))
    assert "larger than 1 MB" in shell.refused("score", "bomb.jsonl.xz")


def test_yaml_that_makes_objects_or_multiplies_itself_is_refused(shell: Shell) -> None:
    attacks = {
        "object": f"name: !!python/object/apply:os.system ['touch {shell.folder / 'owned'}']\n",
        "laughs": "a: &a [x, x]\nb: &b [*a, *a]\nname: n\nrules: [*b, *b]\n",
        "merge": "a: &a {rule: complete}\nname: n\nrules: [{<<: *a}]\n",
        "long": "name: " + "x" * (2 << 20),
    }
    card = Path("card.json")
    (shell.folder / card).write_text(json.dumps(samples.card()))
    for name, text in attacks.items():
        (shell.folder / f"{name}.yaml").write_text(text)
        shell.refused("gate", str(card), "--policy", f"{name}.yaml")
        shell.refused("sweep", f"{name}.yaml", "--dry-run")
        shell.refused("run", "--recipe", f"{name}.yaml")
