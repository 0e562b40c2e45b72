"""`comptrust suites pin`: the digests of a suite get into a policy, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.errors import UserError
from comptrust.gate import policy as policies
from comptrust.trust import suite as suites

BLOCK = """# Ours, since May.
name: mine  # a comment

suites:
- name: other
  digest: "0000000000000000000000000000000000000000000000000000000000000000"
  # the least
  items_at_least: {ethics: 3}   # of 3

rules:
  - {rule: complete}  # all of it
  # the end of the rules
valid_days: 30"""


def data(folder: Path, *, questions: int = 3, repeat: bool = False) -> Path:
    """Write a data folder with one small fairness file."""
    below = folder / "fairness" / "fairness_data"
    below.mkdir(parents=True)
    stem = "adult_0_200_test_base_rate_0.0"
    rows = [
        {
            "input": f"question {0 if repeat else number}",
            "label": "yes",
            "option": [],
            "examples": [],
        }
        for number in range(questions)
    ]
    (below / f"{stem}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    attributes = np.array(["Male" if number % 2 else "Female" for number in range(questions)])
    np.save(below / f"sensitive_attr_{stem}.npy", attributes)
    return folder


def pin(place: Path | str, policy: Path | str, *more: str) -> dict[str, object]:
    arguments = ["suites", "pin", str(place), "--policy", str(policy), *more, "--json"]
    done = CliRunner().invoke(comptrust, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    "text",
    [
        BLOCK,
        "name: mine\nrules: [{rule: complete}]\n",
        "name: mine\nrules: [{rule: complete}]",
        "{name: mine, rules: [{rule: complete}]}\n",
        "name: mine\nsuites: []  # none yet\nrules:\n  - {rule: complete}\n",
        "name: mine\nrules:\n- {rule: complete}\nsuites:\n    - digest: "
        f"{'a' * 64}\n      name: 'other' # theirs\n    # end\n",
    ],
)
def test_a_copy_is_pinned_once_and_everything_else_stays(text: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "mine.yaml", data(tmp_path / "data")
    path.write_text(text)
    path.chmod(0o640)
    before = policies.load(str(path))
    shown = pin(folder, path)
    assert shown["changed"] is True and shown["items"]["fairness"] == 3  # type: ignore[index]
    added = policies.load(str(path)).suites[-1]
    suite = suites.load(f"decodingtrust:{folder}")
    assert (added.name, added.digest) == ("decodingtrust", suite.digest)
    assert added.source == f"decodingtrust:{folder}" and added.content
    assert policies.load(str(path)).suites[:-1] == before.suites
    assert policies.load(str(path)).rules == before.rules
    assert path.stat().st_mode & 0o777 == 0o640
    # Every line is still there, and in order.
    lines = iter(path.read_text().splitlines())
    assert all(any(line.rstrip("}") in new for new in lines) for line in text.splitlines()) or (
        "suites: []" in text
    )
    once = path.read_bytes()
    assert pin(folder, path)["changed"] is False
    assert path.read_bytes() == once


def test_another_copy_replaces_only_if_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(BLOCK)
    first, second = data(tmp_path / "a"), data(tmp_path / "b", questions=5)
    pin(first, path)
    kept = path.read_text()
    path.write_text(f"{kept.replace('valid_days: 30', 'valid_days: 31')}")
    with pytest.raises(UserError, match="counts another copy of suite decodingtrust") as error:
        pin(second, path)
    assert "--replace" in str(error.value) and "\n" not in str(error.value)
    assert path.read_text() == kept.replace("valid_days: 30", "valid_days: 31")
    pin(second, path, "--replace")
    assert [own.name for own in policies.load(str(path)).suites] == ["other", "decodingtrust"]
    assert (
        policies.load(str(path)).suites[1].digest == suites.load(f"decodingtrust:{second}").digest
    )
    # The same data in another place is the same copy.
    moved = tmp_path / "c"
    second.rename(moved)
    assert pin(moved, path)["changed"] is True
    assert policies.load(str(path)).suites[1].source == f"decodingtrust:{moved}"


def test_mini_needs_no_folder_and_keeps_the_least_items(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((policies.FOLDER / "staging.yaml").read_text())
    before = policies.load(str(path)).suites[0]
    earlier = "88fa40149a29ef208429442933c561dadaaa3a711e80ebda00dc1c139a5ec2ba"
    path.write_text(path.read_text().replace(before.digest, earlier))  # as an earlier version wrote
    assert pin("mini", path)["changed"] is True
    [after] = policies.load(str(path)).suites
    assert (after.digest, after.items_at_least) == (before.digest, before.items_at_least)
    assert after.content and after.source is None


def test_questions_that_repeat_do_not_make_up_the_least_items(tmp_path: Path) -> None:
    path, folder = tmp_path / "mine.yaml", data(tmp_path / "a", questions=8, repeat=True)
    path.write_text("name: mine\nrules: [{rule: complete}]\n")
    assert pin(folder, path)["items"]["fairness"] == 1  # type: ignore[index]
    path.write_text(f"{path.read_text()}    items_at_least: {{fairness: 8}}\n")
    with pytest.raises(UserError, match="asks for 8 items of fairness, but this suite has 1"):
        pin(folder, path)


def test_what_cannot_be_pinned(tmp_path: Path) -> None:
    folder, path = data(tmp_path / "a"), tmp_path / "mine.yaml"
    for shipped in ("staging", str(policies.FOLDER / "production.yaml")):
        with pytest.raises(UserError, match=r"is shipped with comptrust.*\(cp .* mine.yaml\)"):
            pin(folder, shipped)
    with pytest.raises(UserError, match="No policy file"):
        pin(folder, path)
    path.write_text("name: mine\nrules: [{rule: complete}]\n...\n")
    with pytest.raises(UserError, match="Add by hand: suites: "):
        pin(folder, path)
    with pytest.raises(UserError, match="No data folder at"):
        pin(tmp_path / "none", path)
    assert path.read_text().endswith("...\n")
