"""A GGUF file becomes a registered version: the file itself is copied, measured and evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.compression import checkpoint
from comptrust.errors import UserError
from comptrust.models import measure, packaged
from comptrust.tracking import registry
from tests.support import gguf_files


@pytest.fixture
def file(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return gguf_files.write(tiny_model, tmp_path / "tiny-q8.gguf")


def test_a_file_is_registered_under_its_own_name_and_evaluated(
    tiny_model: Path, file: Path, tmp_path: Path
) -> None:
    command = f"register {file} --method gguf --base {tiny_model} --json"
    result = CliRunner().invoke(comptrust, command.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["recipe"] == "gguf-q8_0"
    files = registry.download_all(printed["version"], into=tmp_path / "downloaded")
    packaged.check(files)
    folder = registry.checkpoint_in(files)
    assert (folder / file.name).read_bytes() == file.read_bytes()
    assert not [*files.rglob("*.safetensors")]
    record = checkpoint.load(folder)
    measure.check(record, folder)
    assert checkpoint.verify(folder) == [] and file.name in record.manifest
    assert (record.recipe.bits, record.recipe.format) == (8, "gguf:q8_0")
    assert record.effective_bits == 8.5 and record.bytes == file.stat().st_size
    options = f"--dimensions mmlu --limit 2 --out {tmp_path / 'evaluated'} --json"
    command = f"evaluate {printed['version']} {options}"
    result = CliRunner().invoke(comptrust, command.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    card = json.loads(result.stdout)
    assert card["provenance"]["weights"] == "quantized (GGUF, q8_0)"
    assert card["checkpoint_digest"] == record.digest
    with (folder / file.name).open("r+b") as changed:
        changed.seek(-1, 2)
        changed.write(b"\x55")
    assert checkpoint.verify(folder) == [file.name]
    (folder / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError):
        packaged.check(files)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("register {file} --method gptq --bits 8 --base {model}", "does not go with method gptq"),
        ("register {file} --method gguf --bits 4 --base {model}", "bits 4 contradicts"),
        ("register {model} --method gguf --base {model}", "does not go with method gguf"),
        (
            "compress --model {model} --method gguf --format gguf:iq2_xs",
            "Unknown format 'gguf:iq2_xs'",
        ),
        ("compress --model {model} --method rtn --bits 8 --format gguf:q8_0", "of method gguf"),
    ],
)
def test_what_does_not_fit_is_refused_before_work(
    tiny_model: Path, file: Path, command: str, message: str
) -> None:
    words = command.format(file=file, model=tiny_model).split()
    result = CliRunner().invoke(comptrust, words)
    assert isinstance(result.exception, UserError | SystemExit)
    assert message in result.output + str(result.exception)
