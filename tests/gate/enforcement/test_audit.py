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
from comptrust.gate.enforcement import audit, audit_files, audit_record, replay
from comptrust.gate.enforcement.audit import Audit
from comptrust.gate.enforcement.audit_record import AuditEvent

Lines = list[str]
RECORD_OF_0_1_0 = (
    '{"action": "set alias", "model": "m", "version": "1", "target": "champion", "decision": '
    '"granted", "finding": "passes policy production (4f1c), signed by 0123456789abcdef, file'
    's unchanged", "user": "ada", "address": null, "number": 1, "time": "2026-11-28T03:07:48.'
    '640701Z", "after": null, "previous": "00000000000000000000000000000000000000000000000000'
    '00000000000000", "hash": "1b4761a1d1648bf6c52dcf78285d41368589dd37fcdf2f575e604ff700d9bb'
    'b5"}'
)


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
        line = audit_record.AuditRecord.model_validate(json.loads(lines[place - 1]) | fields)
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
    whole, third = log.read_text(), audit.read(log).lines[2]
    log.write_text(whole[:-30])
    head = audit_files.Head(number=3, hash=third.hash)  # it is written after the record
    audit_files.head_path(log).write_text(head.model_dump_json())
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


NASTY = (
    "x" * 1_000_000,
    "\N{PILE OF POO}" * 5_000,
    "\x00\x1b[2J\x7f\x9b" * 3_000,
    "\ud800" * 5_000,
    "\u202e\r\n" * 5_000,
    "\\" * 5_000,
    '"' * 5_000,
)


@pytest.mark.parametrize("text", NASTY)
def test_no_text_is_too_long_or_too_strange(tmp_path: Path, text: str) -> None:
    log = Audit(tmp_path / "audit.jsonl")
    fields = ("action", "model", "version", "target", "finding", "user", "address")
    for extra in ("", "!"):
        log.append(entry(**dict.fromkeys(fields, text + extra)))
    log.append(entry(2))
    assert os.path.getsize(log.path) < 2 * (len(fields) * audit_record.MAX_FIELD_BYTES + 1_000)
    chain = audit.read(log.path)
    assert (chain.problem, len(chain.lines)) == (None, 3)
    assert chain.lines[0].finding != chain.lines[1].finding  # cut, but still two texts


def test_a_longer_line_of_an_older_version_is_read_back(tmp_path: Path) -> None:
    """Such a line was cut at 4,000 characters, each of up to 12 bytes."""
    log = Audit(tmp_path / "audit.jsonl")
    record = log.append(entry())
    long = record.model_copy(update=dict.fromkeys(("target", "finding"), "\N{PILE OF POO}" * 4_000))
    long = long.model_copy(update={"hash": long.true_hash()})
    log.path.write_text(json.dumps(long.model_dump(mode="json")) + "\n")
    audit_files.head_path(log.path).unlink()
    assert os.path.getsize(log.path) > 96_000 > audit_files.BLOCK_BYTES
    log.append(entry(2))
    assert (audit.read(log.path).problem, len(audit.read(log.path).lines)) == (None, 2)


def test_records_of_0_1_0_keep_their_hash(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_text(RECORD_OF_0_1_0 + "\n")
    assert audit.read(tmp_path / "audit.jsonl").problem is None
    Audit(tmp_path / "audit.jsonl").append(entry(2))
    assert audit.read(tmp_path / "audit.jsonl").problem is None


def test_a_long_log_continues_in_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MAX_FILE_BYTES", 1_000)
    log = Audit(tmp_path / "audit.jsonl")
    for version in range(1, 12):
        log.append(entry(version))
    files = audit_files.parts(log.path)
    assert len(files) > 2
    first = json.loads(files[1].read_text().splitlines()[0])
    last = json.loads(files[0].read_text().splitlines()[-1])
    assert (first["previous"], first["number"]) == (last["hash"], last["number"] + 1)
    chain = audit.read(log.path)
    assert (chain.problem, len(chain.lines)) == (None, 11)

    # A crash right after the file was set aside, and one in the first line of the new file.
    log.path.rename(log.path.with_name(f"audit.jsonl.{11:012d}"))
    assert audit.read(log.path).problem is None
    log.path.write_text('{"action": "se')
    log.append(entry(12))
    chain = audit.read(log.path)
    assert (chain.problem, len(chain.lines), chain.unfinished) == (None, 12, 1)

    files[1].unlink()
    problem = audit.read(log.path).problem
    assert problem is not None and "a whole file of the log, was removed" in problem


@pytest.mark.parametrize("kept", [0, 1, 3])
@pytest.mark.parametrize("goes_on", [False, True])
def test_lines_cut_off_the_end_show_for_good(log: Path, kept: int, goes_on: bool) -> None:
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:kept]))
    if goes_on:
        Audit(log).append(entry(5))
    problem = audit.read(log).problem
    assert problem is not None and problem.startswith(f"record {kept + 1}")


def test_a_deleted_log_shows_for_good(log: Path) -> None:
    log.unlink()
    problem = audit.read(log).problem
    assert problem == (
        "record 1: it is missing, but the server wrote 4 records. Restore the removed lines or"
        " files from a backup"
    )
    Audit(log).append(entry(5))
    assert str(audit.read(log).problem).startswith("record 1 (line 1) does not follow")


def test_a_replaced_last_record_shows(log: Path) -> None:
    rewritten = rehashed(4, version="9")(log.read_text().splitlines())
    log.write_text("\n".join(rewritten) + "\n")
    assert str(audit.read(log).problem) == "record 4: it is not the one that the server wrote"
    Audit(log).append(entry(5))
    assert str(audit.read(log).problem).startswith("record 5 ")


def test_a_broken_head_is_an_error(log: Path) -> None:
    audit_files.head_path(log).write_text("4")
    assert "does not name a record" in str(audit.read(log).problem)
    with pytest.raises(ServiceError, match="names the newest record, is broken"):
        Audit(log).append(entry(5))


def test_nothing_from_outside_reaches_the_terminal(tmp_path: Path) -> None:
    log = Audit(tmp_path / "audit.jsonl")
    forged = "m\n   99 2026-01-01 00:00:00 granted   admin: set alias champion, models:/m/1. ok"
    hostile = f"{forged}\x1b[31m\x7f\x9b\u202e\u2066\u200f\u2028\u3164"
    fields = ("action", "model", "version", "target", "finding", "user", "address")
    log.append(entry(**dict.fromkeys(fields, hostile)))
    for options in ([], ["--json"]):
        result = CliRunner().invoke(comptrust, ["audit", "--log", str(log.path), *options])
        assert result.exit_code == 0
        assert {c for c in result.output if not " " <= c <= "~"} == {"\n"}
        assert not any(line.startswith("   99") for line in result.output.splitlines())


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
        (
            [
                entry(1, action="transition", target="Staging"),
                entry(2, action="transition", target="Staging"),
                ARCHIVED,
                entry(2, action="transition", target="Staging", decision="failed"),
                entry(1, action="transition", target="Archived", decision="failed"),
            ],
            {("stage", "m", "1"): "Staging"},
        ),
    ],
)
def test_what_the_log_leaves_promoted(
    tmp_path: Path, records: list[AuditEvent], left: dict[tuple[str, str, str], str]
) -> None:
    for record in records:
        Audit(tmp_path / "audit.jsonl").append(record)
    history = replay.history(audit.read(tmp_path / "audit.jsonl").lines)
    assert {
        place: replay.value(record) for place, record in replay.promoted(history).items()
    } == left
