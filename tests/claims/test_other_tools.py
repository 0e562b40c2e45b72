"""What is handed over is verified by other tools, in environments without comptrust.

These tests build environments (a minute, and a network), so `make test-install` runs them.
"""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from comptrust import claims
from comptrust.gate.signing import algorithms, keys
from tests.support.handed_over import DAY, trust, write

pytestmark = pytest.mark.install

PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"
EVERY = {"comptrust", "securesystemslib", "model_signing"}
READ_BY = {
    "claims.jsonl": EVERY - {"model_signing"},
    "attestation.json": EVERY - {"model_signing"},
    "verdict.json": EVERY - {"model_signing"},
    "scorecard.json": EVERY - {"model_signing"},
}
"""The files that not every tool reads: a model signature is about the model's files alone."""
ALONE = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
"""The environment variables, without those that would bring this checkout along."""


def environment(folder: Path, *packages: str) -> Path:
    """Make an environment with these packages and return its folder of commands."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, env=ALONE)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *packages], check=True, env=ALONE)
    listed = subprocess.run(
        [*pip[:3], "list"], check=True, capture_output=True, text=True, env=ALONE
    )
    assert "comptrust" not in listed.stdout
    return folder / "bin"


def test_three_tools_agree_about_every_file_and_claim(tmp_path: Path) -> None:
    simple = environment(tmp_path / "a", "securesystemslib==1.6.0", "cryptography==50.0.2")
    signing = environment(tmp_path / "b", "model-signing==1.1.1", "pyOpenSSL")
    [script] = re.findall(r"```python\n(import hashlib, json, sys\n.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "verify.py").write_text(script)
    name, _, public = keys.create(tmp_path / "keys", kind="p256")
    key = keys.signing_key(tmp_path / "keys")
    assert key is not None and algorithms.key_id(key.public_key()) == name
    out = tmp_path / "out"
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    write(out, key, issued=now, expires=now + DAY)

    def accepted_by() -> set[str]:
        commands = {
            "securesystemslib": [simple / "python", "../verify.py", ".", public],
            "model_signing": [
                *(signing / "model_signing", "verify", "key", "model"),
                *("--signature", "model.sig", "--public_key", public),
            ],
        }
        done = {
            tool: subprocess.run(words, cwd=out, capture_output=True, env=ALONE).returncode == 0
            for tool, words in commands.items()
        }
        done["comptrust"] = not claims.check(out, trusted=trust(key))
        return {tool for tool, accepted in done.items() if accepted}

    assert accepted_by() == EVERY
    files = sorted(path for path in out.rglob("*") if path.is_file())
    assert {path.name for path in files} > {*READ_BY, "model.sig", "checkpoint.json"}
    for path in files:
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        assert accepted_by() == EVERY - READ_BY.get(path.name, EVERY), path.name
        path.write_bytes(whole)
    assert accepted_by() == EVERY
