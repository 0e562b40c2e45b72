"""Robustness against options and arguments without meaning, chosen by hand.

Each is refused in one line that names the value or what to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from tests.support import samples
from tests.support.shell import Shell

DIGEST = "a" * 64
RUN = "run --method gptq --bits 4"
WORDS = [
    ("run", "--method"),
    ("run --method", "--method"),
    ("run --method=", "Unknown method ''"),
    ("run --method ../gptq", "Unknown method '../gptq'"),
    ("run --method _gptq", "Unknown method"),
    ("run --method GPTQ", "gptq"),
    ("run --method gptq", "bits"),
    ("run --method gptq --bits", "--bits"),
    ("run --method gptq --bits -4", "-4"),
    ("run --method gptq --bits 4.0", "4.0"),
    ("run --method gptq --bits 0x4", "0x4"),
    (f"run --method gptq --bits {'9' * 5000}", "whole number"),
    ("run --method gptq --bits nan", "nan"),
    ("run --method magnitude --sparsity nan", "nan"),
    ("run --method magnitude --sparsity inf", "inf"),
    ("run --method magnitude --sparsity -0.5", "-0.5"),
    ("run --method magnitude --sparsity 1", "1"),
    ("run --method magnitude --sparsity 0", "0"),
    ("run --method magnitude --sparsity half", "half"),
    ("run --method magnitude --structure 2:2", "2:2"),
    ("run --method magnitude --structure 2:4:8", "2:4:8"),
    ("run --method magnitude --structure 2:4 --sparsity 0.6", "0.6"),
    ("run --method none --sparsity 0.5", "sparsity"),
    (f"{RUN} --group-size 0", "'0'"),
    (f"{RUN} --group-size -64", "'-64'"),
    (f"{RUN} --group-size 64.5", "'64.5'"),
    (f"{RUN} --calibration", "--calibration"),
    (f"{RUN} --calibration builtn", "builtin"),
    (f"{RUN} --calibration file:", "file:PATH"),
    (f"{RUN} --calibration builtin:x", "builtin"),
    (f"{RUN} --calibration-samples 0", "0"),
    (f"{RUN} --calibration-samples many", "many"),
    (f"{RUN} --seed first", "first"),
    (f"{RUN} --seed 1.5", "1.5"),
    (f"{RUN} --set dampening", "NAME=VALUE"),
    (f"{RUN} --set dampenin=1", "dampening"),
    (f"{RUN} --set dampening=high", "dampening"),
    (f"{RUN} --set dampening=[", "YAML"),
    (f"{RUN} --set dampening=!!python/name:os.system", "YAML"),
    (f"{RUN} --set =1", "option"),
    (f"{RUN} --suite", "--suite"),
    (f"{RUN} --suite mini:x", "mini"),
    (f"{RUN} --suite ../mini", "suite"),
    (f"{RUN} --suite __init__", "suite"),
    (f"{RUN} --suite decodingtrust", "DIR"),
    (f"{RUN} --suite decodingtrust:nowhere", "nowhere"),
    (f"{RUN} --suite decodingtrust:empty", "empty"),
    (f"{RUN} --suite decodingtrust:card.json", "card.json"),
    (f"{RUN} --suite hf", "dataset"),
    (f"{RUN} --dimensions ethics,,mmlu", "dimension"),
    (f"{RUN} --dimensions ,", "dimension"),
    (f"{RUN} --dimensions ethics,../mmlu", "../mmlu"),
    (f"{RUN} --limit -1", "-1"),
    (f"{RUN} --limit few", "few"),
    (f"{RUN} --scoring modern", "modern"),
    (f"{RUN} --batch-size 0", "0"),
    (f"{RUN} --batch-size big", "big"),
    (f"{RUN} --policy ../../validation/policies/stagin.yaml", "stagin.yaml"),
    (f"{RUN} --policy empty", "empty"),
    (f"{RUN} --promote-to archived", "archived"),
    (f"{RUN} --promote-to ../champion", "champion"),
    (f"{RUN} --model builtin:smollm", "smollm2-135m-instruct"),
    (f"{RUN} --model builtin:../../etc", "builtin model"),
    (f"{RUN} --model builtin:", "builtin model"),
    (f"{RUN} --model models:/", "models:/"),
    (f"{RUN} --model models:/a", "models:/NAME/VERSION"),
    (f"{RUN} --model models:/a/b", "models:/NAME/VERSION"),
    (f"{RUN} --model models:/../../x/1", "models:/"),
    (f"{RUN} --model models:/a@b@c", "models:/a@b@c"),
    (f"{RUN} --model a/b/c", "a/b/c"),
    (f"{RUN} --model /etc", "config.json"),
    (f"{RUN} --model /dev/null", "/dev/null"),
    (f"{RUN} --model ~nobody_at_all/x", "nobody_at_all"),
    (f"{RUN} --model {'m' * 300}", "mmm"),
    (f"{RUN} --recipe nowhere.yaml", "nowhere.yaml"),
    (f"{RUN} --recipe empty", "empty"),
    (f"{RUN} --unknown 1", "--unknown"),
    (f"{RUN} surplus", "surplus"),
    ("compress", "--method"),
    ("compress --method awq --bits 7", "7"),
    ("compress --method gptq --bits 4 --out card.json", "card.json"),
    ("compress --method gptq --bits 4 --model empty --out below", "empty"),
    ("evaluate", "target"),
    ("evaluate nowhere", "nowhere"),
    ("evaluate empty", "config.json"),
    ("evaluate nowhere --engine vlm", "vllm"),
    ("evaluate nowhere --engine vllm", "vllm"),
    ("evaluate nowhere --dtype float16", "float16"),
    ("evaluate nowhere --backend openai", "base_url"),
    ("evaluate nowhere --engine hf --base-url http://127.0.0.1:9", "engine openai"),
    ("evaluate nowhere --backend openai --base-url ftp://x", "ftp://x"),
    ("evaluate nowhere --backend openai --base-url 127.0.0.1:9", "127.0.0.1:9"),
    (
        "evaluate nowhere --backend openai --base-url http://127.0.0.1:9 --limit 1 --patience 0",
        "a tokenizer",
    ),
    ("evaluate nowhere --patience -1", "-1"),
    ("evaluate nowhere --template vicuna", "vicuna_v1.1"),
    ("evaluate nowhere --suite minni", "mini"),
    ("score", "generations"),
    ("score nowhere.jsonl", "nowhere.jsonl"),
    ("score empty", "empty"),
    ("score card.json", "line 1"),
    ("score card.json --scoring new", "new"),
    ("score /dev/null", "no generations"),
    (f"score {'x' * 5000}", "too long"),
    ("gate runs:/../../etc", "runs:/ID"),
    (f"gate runs:/{'0' * 32}", "0" * 32),
    ("gate models:/none/0", "models:/none/0"),
    (f"gate models:/none/{'9' * 400}", "models:/none"),
    ("gate models:/none@latest", "latest"),
    ("gate empty", "scorecard.json"),
    ("gate card.json --baseline nowhere", "nowhere"),
    ("gate card.json --baseline runs:/x", "runs:/x"),
    ("gate card.json --policy stagin", "staging"),
    ("gate card.json --policy card.json", "card.json"),
    ("gate card.json --waivers nowhere.json", "nowhere.json"),
    ("gate card.json --waivers card.json", "list of waivers"),
    ("gate card.json card.json", "card.json"),
    ("gate --plan --suite decodingtrust:nowhere", "nowhere"),
    ("gate card.json --suite mini", "suite.json"),
    ("gate card.json --limit 5", "--plan"),
    ("gate --plan --limit 0", "limit is 0"),
    ("promote", "name"),
    ("promote a", "version"),
    ("promote a 1", "--to"),
    ("promote a one --to staging", "one"),
    ("promote a -1 --to staging", "-1"),
    ("promote ../a 1 --to staging", "../a"),
    ("promote a'b 1 --to staging", "a'b"),
    ("promote a 1 --to nowhere", "nowhere"),
    ("promote a 1 --to staging --policy nothing", "nothing"),
    ("backtest", "table"),
    ("backtest nowhere.csv", "nowhere.csv"),
    ("backtest empty", "empty"),
    ("backtest card.json", "card.json"),
    ("backtest table.csv --policy litteral", "literal"),
    ("leaderboard import nowhere.csv", "nowhere.csv"),
    ("leaderboard import card.json", "card.json"),
    ("leaderboard imprt card.json", "imprt"),
    ("report --experiment nothing", "nothing"),
    ("report --smaller a", "MODEL=OTHER"),
    ("report --smaller =b", "MODEL=OTHER"),
    ("report --ui javascript:alert(1)", "javascript:alert(1)"),
    ("report --out empty", "empty"),
    ("sweep", "sweep"),
    ("sweep smok", "smoke"),
    ("sweep nowhere.yaml", "nowhere.yaml"),
    ("sweep empty --dry-run", "empty"),
    ("sweep card.json --dry-run", "checkpoint_digest"),
    ("sweep smoke --address 10.0.0.1", "10.0.0.1"),
    ("list", "methods"),
    ("list method", "methods"),
    ("list methods models", "models"),
    ("keys made", "made"),
    ("keys init --dir card.json", "card.json"),
    ("keys init --dir card.json/below", "card.json"),
    ("keys show --dir nowhere", "nowhere"),
    ("keys show --dir card.json", "card.json"),
    ("verify", "TARGET"),
    ("verify card.json", "models:/NAME/VERSION"),
    ("verify .", "is not a bundle"),
    ("verify . --policy-digest sha256:1", "sha256:1"),
    ("verify models:/a/1", "models:/a/1"),
    ("verify models:/a/1 --keys nowhere", "nowhere"),
    ("verify models:/a/1 --keys card.json", "card.json"),
    (f"waive complete --checkpoint {DIGEST} --who A --why B", "--until"),
    (f"waive complete --checkpoint {DIGEST} --who A --why B --until tomorrow", "tomorrow"),
    (f"waive complete --checkpoint {DIGEST} --who A --why B --until 2026-02-30", "2026-02-30"),
    (f"waive refusal_shift --checkpoint {DIGEST} --who A --why B --until 2001-01-01", "past"),
    (f"waive nothing --checkpoint {DIGEST} --who A --why B --until 2099-01-01", "nothing"),
    (
        f"waive refusal_shift --checkpoint {DIGEST} --who A --why B --until 2099-01-01",
        "signing key",
    ),
    ("audit", "--log"),
    ("audit --log nowhere.jsonl", "nowhere.jsonl"),
    ("audit --log empty", "empty"),
    ("audit --log card.json --last 0", "0"),
    ("serve --backend-store-uri file:runs", "file:runs"),
    ("serve --backend-store-uri http://127.0.0.1:9", "http://127.0.0.1:9"),
    ("serve --policy-staging nothing", "nothing"),
    ("serve --policy-production card.json", "card.json"),
    ("serve --trusted-keys card.json", "card.json"),
    ("serve --guard-alias blue", "blue"),
    ("serve --guard-alias blue=green", "green"),
    ("serve --artifacts-destination s3://elsewhere", "s3://elsewhere"),
    ("serve --dev", "--dev"),
    ("serve --no-serve-artifacts", "--no-serve-artifacts"),
    ("register", "target"),
    ("register nowhere --base a/b --method gptq --bits 4", "nowhere"),
    ("register empty --base nowhere --method gptq --bits 4", "empty"),
    ("register empty --base nowhere --method gptq", "bits"),
    ("export card.json out", "card.json"),
    ("export models:/a/1 out", "models:/a/1"),
    ("export models:/a@b/c out", "models:/a@b/c"),
    ("frobnicate", "frobnicate"),
    ("../run", "../run"),
    ("options", "options"),
    ("--no-such-option", "--no-such-option"),
]
UNPRINTABLE = [
    ("run", "--method", "gptq\nError: all is well"),
    ("run", "--method", "\x1b]0;owned\x07gptq"),
    ("run", "--method", "gpt\udcffq"),
    ("run", "--method", "gptq", "--bits", "4", "--model", "./a\nb"),
    ("gate", "models:/a\nb/1"),
    ("gate", "models:/" + "a" * 5000 + "/1"),
    ("gate", "card.json", "--policy", "\u202egnigats"),
    ("report", "--experiment", "a' OR 1=1 --"),
    ("verify", "models:/a' OR '1'='1/1"),
]


@pytest.fixture(scope="module")
def place(shell: Shell) -> Shell:
    """A shell with an empty folder, a sound scorecard and a sound table."""
    (shell.folder / "empty").mkdir()
    (shell.folder / "card.json").write_text(json.dumps(samples.card()))
    (shell.folder / "table.csv").write_text(samples.csv_text(samples.table()))
    return shell


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `serve` fail where it would replace this process."""

    def started(*_: object) -> None:
        raise AssertionError("serve would have started")

    monkeypatch.setattr(os, "execve", started)


@pytest.mark.parametrize(("line", "named"), WORDS, ids=[line[:80] for line, _ in WORDS])
def test_words_without_meaning_are_refused(line: str, named: str, place: Shell) -> None:
    assert named.lower() in place.refused(*line.split()).lower()


@pytest.mark.parametrize(
    "arguments", UNPRINTABLE, ids=[ascii(" ".join(words))[:60] for words in UNPRINTABLE]
)
def test_unprintable_words_are_refused_in_one_printable_line(
    arguments: tuple[str, ...], place: Shell
) -> None:
    place.refused(*arguments)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, f"gate runs:/{'0' * 32}"),
        ({"MLFLOW_TRACKING_URI": "http://me:hidden-word@127.0.0.1:9"}, f"gate runs:/{'0' * 32}"),
        ({"MLFLOW_TRACKING_URI": "nonsense://x"}, f"gate runs:/{'0' * 32}"),
        ({"MLFLOW_TRACKING_URI": "sqlite:////proc/nowhere/mlflow.db"}, f"gate runs:/{'0' * 32}"),
        (
            {"MLFLOW_TRACKING_URI": "postgresql://me:hidden-word@127.0.0.1:9/x"},
            f"gate runs:/{'0' * 32}",
        ),
        ({"COMPTRUST_SIGNING_KEY": "nowhere.pem"}, "gate card.json"),
        ({"COMPTRUST_SIGNING_KEY": "card.json"}, "gate card.json"),
        ({"COMPTRUST_KEYS": "card.json"}, "gate card.json"),
        ({"COMPTRUST_CACHE": "card.json"}, f"{RUN} --limit 1 --dimensions mmlu"),
        ({"COMPTRUST_CACHE": "/proc/nowhere"}, f"{RUN} --limit 1 --dimensions mmlu"),
    ],
)
def test_an_unusable_environment_is_refused(
    settings: dict[str, str], line: str, place: Shell
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        told = place.refused(*line.split())
    assert "hidden-word" not in told


def test_every_input_was_tried(place: Shell, tell: Callable[[str], None]) -> None:
    done = place.tried["refused"]
    tell(f"bad input, words: {done} malformed command lines and environments refused in one line")
    assert done >= 200
    assert {path.name for path in place.folder.iterdir()} == {
        "tmp",
        "empty",
        "card.json",
        "table.csv",
    }
