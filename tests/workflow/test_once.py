"""One run resolves a model once, hashes each weight file once, and loads at most four models."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from comptrust import digests
from comptrust.cli.app import comptrust
from comptrust.models import sources
from comptrust.tracking import evaluations, registry, runs

MAGNITUDE = "--method magnitude --structure 2:4"
GPTQ = "--method gptq --bits 4 --calibration-samples 4"


class Counted:
    """How often the real functions were called since `clear`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from transformers import AutoModelForCausalLM

        self.hashed: Counter[str] = Counter()
        self.loaded: list[str] = []
        self.resolved: list[str] = []
        monkeypatch.setattr(hashlib, "file_digest", self._hashing(hashlib.file_digest))
        monkeypatch.setattr(sources, "resolve", self._resolving(sources.resolve))
        load = AutoModelForCausalLM.from_pretrained.__func__  # type: ignore[attr-defined]
        monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", self._loading(load))

    def clear(self) -> None:
        self.hashed.clear()
        self.loaded.clear()
        self.resolved.clear()

    def _hashing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def file_digest(file: Any, *options: Any) -> Any:
            if file.name.endswith(".safetensors"):
                self.hashed[_weights(file)] += 1
            return original(file, *options)

        return file_digest

    def _resolving(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def resolve(name: str, **options: Any) -> Any:
            self.resolved.append(name)
            return original(name, **options)

        return resolve

    def _loading(self, original: Callable[..., Any]) -> Any:
        def from_pretrained(cls: type, path: Any, *arguments: Any, **options: Any) -> Any:
            if options.get("device_map") != "meta":  # names alone, without weights
                self.loaded.append(str(path))
            return original(cls, path, *arguments, **options)

        return classmethod(from_pretrained)


def _weights(file: Any) -> str:
    """Return a name of a weight file that survives the move of its folder."""
    state = os.fstat(file.fileno())
    return f"{state.st_dev}:{state.st_ino}"


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """A new cache and store, and counters."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return Counted(monkeypatch)


def run(model: Path, options: str) -> Result:
    line = f"run --model {model} {options} --dimensions mmlu --limit 1 --json --no-fail"
    return CliRunner().invoke(comptrust, line.split(), catch_exceptions=False)


def settled(model: Path) -> None:
    """Wait until the model's files are old enough to be remembered."""
    newest = max(path.stat().st_ctime for path in model.iterdir())
    time.sleep(max(0.0, newest + 2.1 - time.time()))


@pytest.mark.parametrize("method", [MAGNITUDE, GPTQ])
def test_a_run_hashes_and_loads_as_little_as_it_can(
    counted: Counted, tiny_model: Path, method: str
) -> None:
    settled(tiny_model)
    dense = (tiny_model / "model.safetensors").stat()
    dense_weights = f"{dense.st_dev}:{dense.st_ino}"

    assert run(tiny_model, method).exit_code == 0
    assert counted.resolved == [str(tiny_model)]
    assert len(counted.hashed) == 3  # dense, its checkpoint, and the compressed one
    assert set(counted.hashed.values()) == {1}
    assert len(counted.loaded) == 4
    assert counted.loaded.count(str(tiny_model)) == 2

    counted.clear()
    assert run(tiny_model, method).exit_code == 0
    assert counted.resolved == [str(tiny_model)]
    assert dense_weights not in counted.hashed
    assert set(counted.hashed.values()) == {1}  # the cached checkpoint is verified
    assert len(counted.loaded) == 2

    counted.clear()
    assert run(tiny_model, f"{method} --verify").exit_code == 0
    assert counted.hashed[dense_weights] == 1
    assert set(counted.hashed.values()) == {1}


def test_the_dense_model_is_measured_once_in_each_dtype(counted: Counted, tiny_model: Path) -> None:
    dense = set()
    for dtype in ("auto", "bfloat16", "auto", "bfloat16"):
        result = json.loads(run(tiny_model, f"{MAGNITUDE} --dtype {dtype}").stdout)
        assert result["findings"][0]["outcome"] == "pass", result["findings"][0]
        candidate = evaluations.load(result["run"])
        baseline = evaluations.baseline(candidate)
        assert baseline is not None
        computed = "torch.float32" if dtype == "auto" else "torch.bfloat16"
        for measured in (candidate, baseline):
            assert measured.scorecard.engine["dtype"] == computed
        assert candidate.scorecard.provenance["weights"] == "pruned (50% zeros)"
        assert baseline.scorecard.provenance["weights"] == "dense (BF16)"
        dense.add(baseline.ref)
    assert len(dense) == 2


@pytest.mark.parametrize("claims", [True, False])
def test_a_run_that_only_claims_to_be_the_dense_model_is_not_reused(
    counted: Counted, tiny_model: Path, tmp_path: Path, claims: bool
) -> None:
    """A stranger copies the tags of the dense run to an evaluation of a compressed model."""
    first = json.loads(run(tiny_model, MAGNITUDE).stdout)
    candidate = evaluations.load(first["run"])
    assert (dense := evaluations.baseline(candidate)) is not None
    own, client = registry.run_of(dense.ref), runs.client()
    info = client.get_run(own)
    tags = {key: value for key, value in info.data.tags.items() if not key.startswith("mlflow.")}
    if not claims:
        tags["checkpoint_digest"] = candidate.scorecard.checkpoint_digest
    stranger = client.create_run(info.info.experiment_id, tags=tags).info.run_id
    names = [*evaluations.SCORES_ONLY, "generations"]
    files = runs.download(registry.run_of(first["run"]), into=tmp_path / "files", only=names)
    client.log_artifacts(stranger, str(files))
    client.set_terminated(stranger)
    taken = evaluations.baseline(candidate)
    assert taken is not None and taken.ref == f"runs:/{stranger}"

    again = run(tiny_model, MAGNITUDE)
    assert ("dense model: not reused" in again.stderr) is claims
    assert (f"({dense.ref}), reused" in again.stderr) is (not claims)
    assert json.loads(again.stdout)["dimensions"] == first["dimensions"]
    assert json.loads(again.stdout)["findings"][0]["outcome"] == "pass"


def test_registering_loads_each_model_once(counted: Counted, tiny_model: Path) -> None:
    make = f"compress --model {tiny_model} {GPTQ} --out compressed"
    assert CliRunner().invoke(comptrust, make.split(), catch_exceptions=False).exit_code == 0
    counted.clear()
    line = f"register ./compressed --base {tiny_model} --method gptq --bits 4 --evaluate"
    line += " --dimensions mmlu --limit 1 --json --no-fail"
    result = CliRunner().invoke(comptrust, line.split(), catch_exceptions=False)
    assert result.exit_code == 0
    assert sorted(counted.resolved) == sorted(["./compressed", str(tiny_model)])
    assert len(counted.loaded) == 4
    assert set(counted.hashed.values()) == {1}


def test_signing_and_verifying_read_every_byte_each_time(
    counted: Counted, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPTRUST_KEYS", str(tmp_path / "keys"))
    invoke = CliRunner().invoke
    assert invoke(comptrust, ["keys", "init"], catch_exceptions=False).exit_code == 0
    result = json.loads(run(tiny_model, MAGNITUDE).stdout)
    assert result["signed"]
    assert sum(counted.hashed.values()) == 4  # the registered copy was read before signing
    for _ in range(2):
        counted.clear()
        invoke(comptrust, ["verify", result["version"]], catch_exceptions=False)
        assert sum(counted.hashed.values()) == 1


def test_a_digest_is_remembered_only_by_what_names_a_model(
    counted: Counted, tiny_model: Path
) -> None:
    settled(tiny_model)
    for _ in range(2):
        sources.resolve(str(tiny_model))
    assert sum(counted.hashed.values()) == 1
    digests.of_folder(tiny_model)
    digests.of_file(tiny_model / "model.safetensors")
    assert sum(counted.hashed.values()) == 3
