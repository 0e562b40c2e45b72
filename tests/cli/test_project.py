"""The project file: it saves repeating options, and it must not weaken the gate."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comptrust.cli.app import comptrust
from comptrust.errors import UserError

FILE = "store: sqlite:///store/a.db\nkeys: keys\npolicy: mine.yaml\nsuite: mini\nengine: hf\n"
POLICY = "{name: mine, rules: [{rule: fresh}]}"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a repository with a project file; the current folder is below it."""
    for name in ("MLFLOW_TRACKING_URI", "COMPTRUST_KEYS", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = tmp_path / "team"
    (root / ".git").mkdir(parents=True)
    (root / "deep" / "er").mkdir(parents=True)
    (root / "comptrust.yaml").write_text(FILE)
    (root / "mine.yaml").write_text(POLICY)
    monkeypatch.chdir(root / "deep" / "er")
    return root


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return what `run` was asked to do, instead of doing it."""
    seen: dict[str, object] = {}

    def take(recipe: object, **options: object) -> object:
        seen.update(options, uri=os.environ.get("MLFLOW_TRACKING_URI"))
        seen["keys"] = os.environ.get("COMPTRUST_KEYS")
        raise UserError("enough")

    monkeypatch.setattr("comptrust.cli.jobs.job", take)
    return seen


def call(*words: str) -> Result:
    return CliRunner().invoke(comptrust, words)


RUN = ("run", "--method", "gptq", "--bits", "4")


def test_it_sets_what_neither_options_nor_environment_set(
    root: Path, asked: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = call(*RUN)
    assert asked["policy"] == str(root / "mine.yaml")
    assert asked["uri"] == f"sqlite:///{root}/store/a.db"
    assert asked["keys"] == str(root / "keys")
    assert f"{root / 'comptrust.yaml'}: store sqlite:///{root}/store/a.db, keys" in result.stderr
    assert "MLFLOW_TRACKING_URI" not in os.environ and "COMPTRUST_KEYS" not in os.environ
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    call(*RUN, "--policy", "production")
    assert (asked["policy"], asked["uri"]) == ("production", "sqlite:///other.db")
    call("run", "--recipe", "gptq-4bit")
    assert asked["policy"] == str(root / "mine.yaml")


def test_it_does_not_decide_what_may_be_promoted(root: Path, asked: dict[str, object]) -> None:
    result = call(*RUN, "--promote-to", "staging")
    assert asked["policy"] is None and "--promote-to does not use the policy" in result.stderr


@pytest.mark.parametrize(
    "words", ["promote tiny 1 --to staging", "verify nothing", "regate models:/tiny", "audit"]
)
def test_commands_that_decide_trust_take_neither_keys_nor_policy(
    words: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str | None] = []
    name = words.split()[0]
    monkeypatch.setattr(
        f"comptrust.cli.commands.{name}.command.callback",
        lambda **options: keys.append(os.environ.get("COMPTRUST_KEYS")),
    )
    result = call(*words.split())
    assert keys == [None], result.output
    assert f"not keys and policy, which {name} takes from options alone" in result.stderr


def test_serve_does_not_read_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "comptrust.yaml").write_text("nonsense: [")
    seen: list[str | None] = []
    monkeypatch.setattr(
        "comptrust.cli.commands.serve.command.callback",
        lambda **options: seen.append(os.environ.get("MLFLOW_TRACKING_URI")),
    )
    assert call("serve").exit_code == 0 and seen == [None]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("polisy: mine.yaml", "Unknown setting in {file}: 'polisy'. Did you mean 'policy'?"),
        ("suite: 3", "setting 'suite' is not a text"),
        ("[1]", "must hold 'setting: value' lines"),
        ("suite: [", "is not valid YAML"),
    ],
)
def test_a_mistake_in_it_is_one_line(text: str, says: str, root: Path) -> None:
    (root / "comptrust.yaml").write_text(text)
    error = call("list", "methods").exception
    assert isinstance(error, UserError) and "\n" not in str(error)
    assert says.format(file=root / "comptrust.yaml") in str(error)


def test_no_credential_goes_to_a_server_that_only_the_file_names(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "comptrust.yaml").write_text("store: http://127.0.0.1:9\n")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "hunter2")
    error = call("list", "settings").exception
    assert isinstance(error, UserError) and "MLFLOW_TRACKING_TOKEN has a credential" in str(error)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert call("list", "settings").exit_code == 0


def test_it_is_not_looked_for_above_the_repository(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "comptrust.yaml").rename(root.parent / "comptrust.yaml")
    assert "comptrust.yaml" not in call("list", "methods").stderr
    (root / ".git").rmdir()
    monkeypatch.chdir(root)
    assert "comptrust.yaml" not in call("list", "methods").stderr
