"""Real logs of inspect_ai 0.3.285, converted to JSON: the embedded model, dense and 4 bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comptrust.errors import UserError
from comptrust.imports import pairing
from comptrust.imports.formats.inspect import Inspect
from comptrust.tracking import evaluations

DATA = Path(__file__).parents[1] / "data" / "imports"
SIDES = {"dense": "inspect_dense", "candidate": "inspect_rtn"}


def edited(tmp_path: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Copy the candidate's log of sums, edited."""
    path = Path(shutil.copy(DATA / "inspect_rtn" / "sums.json", tmp_path))
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))
    return path


def test_means_are_those_of_the_harness(tmp_path: Path) -> None:
    logs = {side: Inspect().read(DATA / name, cluster=None) for side, name in SIDES.items()}
    paired = pairing.write(logs, out=tmp_path)
    assert paired.notes == ()
    for side, name in SIDES.items():
        card = evaluations.load(str(paired.folders[side])).scorecard
        for task, scorer in (("capitals", "includes"), ("sums", "match")):
            data = json.loads((DATA / name / f"{task}.json").read_text())
            [score] = data["results"]["scores"]
            value = card[f"inspect/{task}/{scorer}"].value
            assert value == pytest.approx(100 * score["metrics"]["accuracy"]["value"], abs=1e-9)
    table = evaluations.load(str(paired.folders["dense"])).table("inspect/sums/match")
    assert table
    # Two epochs of 20 sums, three of which are there twice.
    assert (len(table.ids), len(set(table.cluster))) == (40, 17)


def test_a_failed_sample_has_no_score(tmp_path: Path) -> None:
    def fail(data: dict[str, Any]) -> None:
        data["samples"][0] |= {"error": {"message": "out of memory"}}
        del data["results"]

    log = Inspect().read(edited(tmp_path, fail), cluster=None)
    assert [row.scores["match"] for row in log.rows].count(None) == 1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data.update(status="error"), "of a run that ended as 'error'"),
        (lambda data: data.pop("eval"), "is not a log of inspect_ai"),
        (
            lambda data: data.update(samples=data["samples"] * 2),
            "id 1, epoch 1 of sums is there twice, first as row 1",
        ),
        (lambda data: data["samples"][0].update(input=""), "sample 1: it has no input"),
        (lambda data: data["samples"][0].update(id=None), "sample 1: it has no id|inspect_ai can"),
        (
            lambda data: data["samples"][0]["scores"]["match"].update(value="good"),
            "sample 1, match: 'good' is not a finite number",
        ),
    ],
    ids=["aborted", "other file", "twice", "no input", "no id", "other letter"],
)
def test_broken_logs_are_refused(tmp_path: Path, edit: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Inspect().read(edited(tmp_path, edit), cluster=None)


def test_a_log_without_samples(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda data: data.update(samples=[]))
    log = Inspect().read(path, cluster=None)
    with pytest.raises(UserError, match="has no samples, so there is nothing to pair"):
        log.check(())


def test_a_binary_log_needs_inspect_ai(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    path.write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(UserError, match="only by inspect_ai|that inspect_ai can read"):
        Inspect().read(path, cluster=None)
