"""The log: every change of it shows, several writers share it, and a crash leaves it readable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.errors import ServiceError
from comptrust.gate.enforcement import audit
from comptrust.gate.enforcement.audit import Audit, AuditEvent
from comptrust.gate.enforcement.reconcile import last_granted

Lines = list[str]


def entry(version: int = 1, **fields: str) -> AuditEvent:
    base = {
        "action": "set alias",
        "model": "m",
        "version": str(version),
        "target": "champion",
        "decision": "granted",
        "finding": "passes ✓",
    }
    return AuditEvent.model_validate(base | fields)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Four records."""
    path = tmp_path / "audit.jsonl"
    for version in range(1, 5):
        Audit(path).append(entry(version))
    return path


def test_chain_holds(log: Path) -> None:
    chain = audit.read(log)
    assert (chain.problem, [line.version for line in chain.lines]) == (None, ["1", "2", "3", "4"])
    assert [line.previous for line in chain.lines] == [
        audit.GENESIS_HASH,
        *(line.hash for line in chain.lines[:-1]),
    ]
    assert all(
        line.time.utcoffset() is not None and line.finding == "passes ✓" for line in chain.lines
    )


def edited(place: int, **fields: object) -> Callable[[Lines], Lines]:
    def change(lines: Lines) -> Lines:
        lines[place - 1] = json.dumps(json.loads(lines[place - 1]) | fields)
        return lines

    return change


def rehashed(place: int, **fields: object) -> Callable[[Lines], Lines]:
    """Change a record and give it the hash that it then must have."""

    def change(lines: Lines) -> Lines:
        line = audit.AuditRecord.model_validate(json.loads(lines[place - 1]) | fields)
        lines[place - 1] = line.model_copy(update={"hash": line.true_hash()}).model_dump_json()
        return lines

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (edited(2, version="9"), "record 2 "),
        (edited(3, decision="refused"), "record 3 "),
        (edited(1, user="root"), "record 1 "),
        (edited(4, time="2020-01-01T00:00:00Z"), "record 4 "),
        (rehashed(2, version="9"), "record 3 "),
        (rehashed(4, number=5), "record 4 "),
        (lambda lines: lines[1:], "record 1 "),
        (lambda lines: [lines[0], *lines[2:]], "record 2 "),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "record 1 "),
        (lambda lines: [*lines, lines[-1]], "record 5 "),
        (lambda lines: [lines[0], "nonsense", *lines[1:]], "record 2 "),
        (lambda lines: [lines[0], "nonsense", "nonsense", *lines[1:]], "record 2 "),
    ],
)
def test_a_changed_log_names_the_record(
    log: Path, change: Callable[[Lines], Lines], named: str
) -> None:
    log.write_text("\n".join(change(log.read_text().splitlines())) + "\n")
    problem = audit.read(log).problem
    assert problem is not None and problem.startswith(named)
    result = CliRunner().invoke(comptrust, ["audit", "--log", str(log)])
    assert result.exit_code == 1
    assert named in result.output


def test_a_crash_while_writing_is_explained_by_the_next_record(log: Path) -> None:
    whole = log.read_text()
    log.write_text(whole[:-30])
    problem = audit.read(log).problem
    assert problem is not None and problem.startswith("record 4 is unfinished")
    Audit(log).append(entry(5))
    chain = audit.read(log)
    assert (chain.problem, chain.unfinished, [line.number for line in chain.lines]) == (
        None,
        1,
        [1, 2, 3, 4],
    )
    log.write_text(log.read_text().replace('"version": "4"', '"version": "9"'))
    problem = audit.read(log).problem
    assert problem is not None and "does not explain the unfinished line" in problem


def test_nothing_is_added_to_a_broken_end(log: Path) -> None:
    log.write_text(log.read_text() + "nonsense\n")
    before = log.read_bytes()
    with pytest.raises(ServiceError, match="last line of the audit log .* is broken"):
        Audit(log).append(entry())
    assert log.read_bytes() == before


def test_several_processes_and_threads_share_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "shared.jsonl"
    code = (
        "import sys, threading; from pathlib import Path; from comptrust.gate.enforcement.audit"
        " import Audit, AuditEvent\nlog = Audit(Path(sys.argv[1]))\nentry = AuditEvent(action='a',"
        " model='m', version='1', target='t', decision='refused', finding='f')\ndef write():"
        " [log.append(entry) for _ in range(10)]\nthreads = [threading.Thread(target=write) for _"
        " in range(3)]\n[one.start() for one in threads]; [one.join() for one in threads]\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    chain = audit.read(path)
    assert (chain.problem, len(chain.lines)) == (None, 90)


def test_what_cannot_be_logged_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="Cannot write the audit log"):
        Audit(tmp_path / "file" / "audit.jsonl").append(entry())


def test_long_findings_are_cut(tmp_path: Path) -> None:
    log = Audit(tmp_path / "audit.jsonl")
    log.append(entry(finding="x" * 1_000_000))
    log.append(entry(2))
    assert os.path.getsize(log.path) < audit.TAIL_BYTES
    assert audit.read(log.path).problem is None


def test_command_prints_json_alone(log: Path) -> None:
    result = CliRunner().invoke(comptrust, ["audit", "--log", str(log), "--last", "2", "--json"])
    assert result.exit_code == 0
    shown = json.loads(result.output)
    assert (shown["records"], shown["problems"], [line["version"] for line in shown["shown"]]) == (
        4,
        [],
        ["3", "4"],
    )
    assert shown["head"] == audit.read(log).lines[-1].hash


def test_command_without_a_log(tmp_path: Path) -> None:
    result = CliRunner().invoke(comptrust, ["audit", "--log", str(tmp_path / "none.jsonl")])
    assert result.exit_code != 0
    assert "There is no audit log" in str(result.exception)


ARCHIVED = entry(1, action="transition", target="Archived", decision="withdrawn")


@pytest.mark.parametrize(
    ("records", "left"),
    [
        ([entry(1)], {("alias", "m", "champion"): "1"}),
        ([entry(1), entry(2, target="Champion")], {("alias", "m", "champion"): "2"}),
        ([entry(1), entry(1, action="delete alias", decision="withdrawn")], {}),
        ([entry(1), entry(2), entry(2, decision="failed")], {("alias", "m", "champion"): "1"}),
        ([entry(1, decision="refused")], {}),
        (
            [entry(number, action="transition", target="Staging") for number in (1, 2)],
            {("stage", "m", "1"): "Staging", ("stage", "m", "2"): "Staging"},
        ),
        ([entry(1, action="transition", target="Staging"), ARCHIVED], {}),
        ([entry(1), ARCHIVED], {("alias", "m", "champion"): "1"}),
    ],
)
def test_what_the_log_leaves_promoted(
    tmp_path: Path, records: list[AuditEvent], left: dict[tuple[str, str, str], str]
) -> None:
    for record in records:
        Audit(tmp_path / "audit.jsonl").append(record)
    assert last_granted(audit.read(tmp_path / "audit.jsonl").lines) == left
