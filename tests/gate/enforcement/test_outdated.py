"""What was promoted before the present policy: named, tolerated for a while, brought up to date."""

from __future__ import annotations

import datetime
import json

import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.gate.enforcement import audit, audit_files, settings
from tests.support.enforcement.inprocess import a_pass, promote
from tests.support.enforcement.world import Candidate, World

TODAY = datetime.datetime.now(datetime.UTC).date()
DAY = datetime.timedelta(days=1)


def audited(world: World, start: str) -> list[str]:
    place = world.folder / "mlflow.db"
    command = ["audit", "--log", f"{place}.audit.jsonl", "--registry", f"sqlite:///{place}"]
    result = CliRunner().invoke(comptrust, command, catch_exceptions=False)
    assert result.exit_code == (1 if "PROBLEM" in result.output else 0)
    return [line for line in result.output.splitlines() if line.startswith(f"{start}: ")]


def champion(world: World) -> Candidate:
    candidate = a_pass(world)
    promote(world, candidate)
    assert audited(world, "PROBLEM") == audited(world, "NOTE") == []
    return candidate


def now_says(world: World, old: str, new: str) -> None:
    path = world.folder / "production.yaml"
    path.write_text(path.read_text().replace(old, new))


def test_another_policy_is_named_until_it_is_promoted_or_gated_again(inside: World) -> None:
    candidate = champion(inside)
    now_says(inside, "points: 10", "points: 9")
    (problem,) = audited(inside, "PROBLEM")
    assert "granted under another policy than that of production now" in problem
    assert f"comptrust regate models:/{candidate.name}/1" in problem
    inside.gate(candidate)
    assert audited(inside, "PROBLEM") == []


@pytest.mark.parametrize("days", [0, -1])
def test_it_is_tolerated_through_a_day(inside: World, days: int) -> None:
    champion(inside)
    now_says(inside, "rules:", f"tolerate_until: {TODAY + days * DAY}\nrules:")
    kind = "NOTE" if days >= 0 else "PROBLEM"
    (line,) = audited(inside, kind)
    assert f"tolerated until {TODAY + days * DAY}" in line


def test_evidence_that_would_not_pass_now_is_named(inside: World) -> None:
    champion(inside)
    now_says(inside, "ratio: 1.5", "ratio: 1000")
    (problem,) = audited(inside, "PROBLEM")
    assert "does not pass policy production now" in problem and "min_compression" in problem


def test_the_log_says_which_policy_the_server_has(
    inside: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion(inside)
    for level in settings.LEVELS:
        monkeypatch.delenv(settings.POLICY[level])
    assert audited(inside, "PROBLEM") == []


def test_a_promotion_from_before_grants_were_recorded_is_named(inside: World) -> None:
    champion(inside)
    path = inside.folder / "mlflow.db.audit.jsonl"
    (record,) = audit.read(path).lines
    record = record.model_copy(update={"grant": None})
    record = record.model_copy(update={"hash": record.true_hash()})
    path.write_text(json.dumps(record.model_dump(mode="json")) + "\n")
    audit_files.write_head(path, audit_files.Head(number=1, hash=record.hash))
    (problem,) = audited(inside, "PROBLEM")
    assert "before the log said what it granted" in problem
