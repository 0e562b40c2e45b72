"""An address that can be read in two ways is no place for a promoted model."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptrust.gate.enforcement import files


@pytest.mark.parametrize(
    "uri",
    [
        "mlflow-artifacts:/1/models/m-1/artifacts",
        "file:///srv/my models/m-1",
        "/srv/models/m-1",
        "s3://bucket/models/m-1",
    ],
)
def test_plain(uri: str) -> None:
    assert files.ambiguous(uri) is None


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("mlflow-artifacts:/1/models/%256d-1/artifacts", "contains '%'"),
        ("mlflow-artifacts:/1/models/m-1/artifacts?x", "contains '?'"),
        ("mlflow-artifacts:/1/models/m-1/artifacts#x", "contains '#'"),
        ("mlflow-artifacts:/1/models/m-1;x/artifacts", "contains ';'"),
        ("mlflow-artifacts:/1/models\\m-1", "contains '\\'"),
        ("mlflow-artifacts:/1//models/m-1", "without empty"),
        ("mlflow-artifacts://host/1/models/m-1", "without empty"),
        ("mlflow-artifacts:1/models/m-1", "without empty"),
        ("mlflow-artifacts:/1/models/m-1/", "without empty"),
        ("mlflow-artifacts:/1/./models/m-1", "'.' or '..'"),
        ("mlflow-artifacts:/1/models/m-2/../m-1", "'.' or '..'"),
        ("file:/srv/models", "without empty"),
        ("file://host/srv/models", "without empty"),
        ("comptrust+file:///srv/models", "without empty"),
        ("models/m-1", "without empty"),
        ("mlflow-artifacts:/1/models/m-1\n", "not printable ASCII"),
        ("mlflow-artifacts:/1/modelѕ/m-1", "not printable ASCII"),
    ],
)
def test_read_in_two_ways(uri: str, why: str) -> None:
    assert why in str(files.ambiguous(uri))


def test_answers_in_folders_of_folders_are_fetched(tmp_path: Path) -> None:
    """An imported dimension has a name of several parts: lm-eval/arc_easy/acc."""
    names = ("scorecard.json", "generations/ethics.jsonl", "generations/h/task/acc.jsonl")
    for name in names:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text(name)
    found = files.fetch(str(tmp_path / "run"), (*names, "generations/x/y/z.jsonl"), tmp_path / "to")
    present = {path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()}
    assert present == set(names)
