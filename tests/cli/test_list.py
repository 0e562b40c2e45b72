"""`comptrust list`: a line about each thing, taken from where the thing is described."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comptrust.cli.app import comptrust
from comptrust.cli.commands.list_ import KINDS

SECRET = "hunter2-hunter2"


def listed(*words: str) -> Result:
    return CliRunner().invoke(comptrust, ["list", *words])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "settings"])
def test_every_name_has_a_line_about_it(kind: str) -> None:
    result = listed(kind)
    assert result.exit_code == 0, result.output
    names = json.loads(listed(kind, "--json").stdout)
    lines = result.output.splitlines()
    assert names and len(lines) == len(names)
    for name, line in zip(names, lines, strict=True):
        assert line.startswith(f"{name} ") and len(line.removeprefix(name).strip()) > 8, line


def test_settings_say_where_each_value_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://me:{SECRET}@db/mlflow")
    monkeypatch.delenv("COMPTRUST_KEYS")
    (tmp_path / "comptrust.yaml").write_text("store: sqlite:///a.db\nkeys: team\nsuite: mini\n")
    result = listed("settings", "--json")
    rows = {row["setting"]: (row["value"], row["from"]) for row in json.loads(result.stdout)}
    file = f"file {tmp_path / 'comptrust.yaml'}"
    assert rows == {
        "store": ("postgresql://me:***@db/mlflow", "environment MLFLOW_TRACKING_URI"),
        "keys": (str(tmp_path / "team"), file),
        "policy": ("demo", "default"),
        "suite": ("mini", file),
        "engine": ("auto", "default"),
    }
    assert SECRET not in result.output
