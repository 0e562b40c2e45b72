"""JUnit and Markdown of a verdict, and the two integrations that use them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from comptrust.cli import ci_files
from comptrust.imports import pairing
from comptrust.imports.formats.lm_eval import LmEval
from tests.support.shell import Shell, Told

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "imports"
POLICY = """\
name: ours
dense: declared
stages: false
rules:
  - {rule: max_drop, points: 5, dimensions: ["lm-eval/capitals/*"]}
  - {rule: max_drop, points: 50, dimensions: ["lm-eval/capitals/*"]}
  - {rule: complete, dimensions: ["lm-eval/gsm8k/*"]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    logs = {
        side: LmEval().read(DATA / name, cluster=None)
        for side, name in (("dense", "lm_eval_dense"), ("candidate", "lm_eval_rtn"))
    }
    pairing.write(logs, out=tmp_path / "pair")
    (tmp_path / "ours.yaml").write_text(POLICY)
    return tmp_path


def compare(folder: Path, *options: str) -> Told:
    sides = ("pair/dense/scorecard.json", "pair/candidate/scorecard.json")
    return Shell(folder)("compare", *sides, "--policy", "ours.yaml", *options)


def test_a_rule_is_a_test(folder: Path) -> None:
    assert compare(folder, "--junit", "gate.xml").code == 1
    cases = {
        case.attrib["name"]: [child.tag for child in case]
        for case in ElementTree.parse(folder / "gate.xml").iter("testcase")
    }
    assert cases["max_drop (5 points)"] == ["failure"]
    assert cases["complete"] == ["error"]
    assert cases["comparable"] == []


def test_markdown_begins_with_the_verdict(folder: Path) -> None:
    compare(folder, "--markdown", "gate.md")
    text = (folder / "gate.md").read_text()
    assert text.startswith("## BLOCK: pair/candidate/scorecard.json\n")
    assert "- **BLOCK: max\\_drop (5 points)**: Dropped more than 5 points" in text
    assert "| lm-eval/capitals/acc | 95.0 | 85.0 | +10.0 |" in text
    assert "answers changed." in text and "What is the capital" not in text


def test_texts_are_quoted_only_on_request(folder: Path) -> None:
    compare(folder, "--markdown", "gate.md", "--show-texts")
    assert "| prompt | dense | compressed | effect |" in (folder / "gate.md").read_text()
    refused = compare(folder, "--show-texts")
    assert (refused.code, refused.err) == (
        2,
        "Error: --show-texts belongs to --markdown FILE.\n",
    )


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
def test_a_place_that_cannot_be_written(folder: Path, option: str) -> None:
    (folder / "file").write_text("")
    refused = compare(folder, option, "file/gate")
    assert refused.code == 4
    assert refused.err.startswith("Error: Cannot write file/gate: ")


def test_no_markup_of_an_answer_works() -> None:
    shown = ci_files._cell("a|b\n<img src=x> `c` [d](e) **f**")
    assert shown == "a\\|b &lt;img src=x&gt; \\`c\\` \\[d\\](e) \\*\\*f\\*\\*"


def run(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a CI script with the program of this environment."""
    shim = folder / "bin"
    shim.mkdir(exist_ok=True)
    (shim / "comptrust").write_text(f'#!/bin/sh\nexec {sys.executable} -m comptrust "$@"\n')
    (shim / "comptrust").chmod(0o755)
    path = f"{shim}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        env=os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_the_action_fails_with_the_verdict(folder: Path) -> None:
    action = yaml.safe_load((ROOT / "integrations/github/action.yml").read_text())
    [judge] = [step for step in action["runs"]["steps"] if step["name"] == "Judge"]
    given = {
        "CANDIDATE": "pair/candidate/scorecard.json",
        "BASELINE": "pair/dense/scorecard.json",
        "POLICY": "ours.yaml",
        "TRACKING_URI": "",
    }
    assert given.keys() == judge["env"].keys()
    for name, text in judge["env"].items():
        assert f"inputs.{name.lower().replace('_', '-')} " in text
    done = run(judge["run"], folder, **given, GITHUB_OUTPUT="output", GITHUB_STEP_SUMMARY="summary")
    assert done.returncode == 1, done.stderr
    assert (folder / "output").read_text() == "outcome=block\n"
    assert (folder / "summary").read_text().startswith("## BLOCK")


def test_the_example_gives_inputs_that_the_action_has() -> None:
    action = yaml.safe_load((ROOT / "integrations/github/action.yml").read_text())
    page = (ROOT / "docs/ci.md").read_text()
    workflow = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    given = workflow["jobs"]["gate"]["steps"][-1]["with"].keys()
    assert {"candidate"} <= given <= action["inputs"].keys()


def test_the_gitlab_job_reports_the_rules(folder: Path) -> None:
    [(name, job)] = yaml.safe_load(
        (ROOT / "integrations/gitlab/comptrust.gitlab-ci.yml").read_text()
    ).items()
    variables = job["variables"] | {
        "COMPTRUST_CANDIDATE": "pair/candidate/scorecard.json",
        "COMPTRUST_BASELINE": "pair/dense/scorecard.json",
        "COMPTRUST_POLICY": "ours.yaml",
    }
    done = run("\n".join(job["script"]), folder, **variables)
    assert (name, done.returncode) == ("comptrust-gate", 1), done.stderr
    assert (folder / job["artifacts"]["reports"]["junit"]).is_file()
