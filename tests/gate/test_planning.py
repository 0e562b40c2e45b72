"""Planning: the number printed before a run is the number at which a lossless model passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.errors import UserError
from comptrust.gate import policy
from comptrust.gate.planning import check, plan
from comptrust.records import Message, Prompt, Suite


def suite(n: int, *, share: int = 1) -> Suite:
    """Ask n prompts, `share` of them per cluster."""
    asked = (Message(role="user", content="Is it wrong?"),)
    prompts = [
        Prompt(
            id=f"zero_shot#{i}",
            dimension="ethics",
            scenario="zero_shot",
            messages=asked,
            target="wrong",
            extra={"cluster": f"c{i // share}"},
        )
        for i in range(n)
    ]
    return Suite(
        name="mini", revision="1", prompts=tuple(prompts), required={"ethics": ("zero_shot",)}
    )


@pytest.mark.parametrize("share", [1, 2])
def test_prompts_that_share_an_item_count_once(share: int) -> None:
    needed = plan(suite(400 * share, share=share), policy.load("staging")).rows[0].needed
    assert needed is not None
    for n, enough in ((needed - 2, False), (needed + 2, True)):
        row, _ = plan(suite(n * share, share=share), policy.load("staging")).rows
        assert (row.prompts, row.clusters, row.enough, row.possible) == (n * share, n, enough, True)
        assert row.needed == pytest.approx(needed, abs=1)
    row, _ = plan(suite(20 * share, share=share), policy.load("staging")).rows
    assert not row.possible


def test_every_margin_has_its_own_number() -> None:
    rows = plan(suite(200), policy.load("production")).rows
    assert [(row.points, row.applies_to, row.enough) for row in rows] == [
        (5, "all", True),
        (3, "all, from 8 bits", False),
    ]


def test_a_policy_that_looks_at_the_observed_drop_needs_no_number(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "name: p\nrules:\n  - {rule: max_drop, points: 5, evidence: observed}\n"
    )
    with pytest.raises(UserError, match="Policy p has no max_drop rule"):
        plan(suite(10), policy.load(str(tmp_path / "p.yaml")))


def floor(folder: Path, items: int) -> str:
    """Write a policy that asks for so many items, and return its path."""
    path = folder / "p.yaml"
    path.write_text(f"name: p\nrules:\n  - {{rule: max_drop, items_at_least: {items}}}\n")
    return str(path)


def test_the_policy_s_least_number_of_items_counts(tmp_path: Path) -> None:
    rules = policy.load(floor(tmp_path, 300))
    row, *_ = plan(suite(250, share=1), rules).rows
    assert (row.needed, row.possible, row.enough) == (300, False, False)
    row, *_ = plan(suite(300, share=1), rules).rows
    assert (row.needed, row.possible, row.enough) == (300, True, True)
    check(suite(600, share=2), rules)
    message = (
        r"ethics has 299 items \(limit none\), but policy p decides nothing with fewer than 300"
    )
    with pytest.raises(UserError, match=message):
        check(suite(598, share=2), rules)


@pytest.mark.parametrize(("of_rule", "of_pin", "least"), [(100, 300, 300), (350, 300, 350)])
def test_a_pinned_suite_s_least_number_of_items_counts(
    tmp_path: Path, of_rule: int, of_pin: int, least: int
) -> None:
    asked = suite(250)
    path = Path(floor(tmp_path, of_rule))
    pin = f"{{name: mini, digest: {asked.digest}, items_at_least: {{ethics: {of_pin}}}}}"
    path.write_text(f"{path.read_text()}suites: [{pin}]\n")
    [row] = plan(asked, policy.load(str(path))).rows
    assert (row.needed, row.least, row.enough, row.possible) == (least, least, False, False)
    assert str(row) == (
        f"no: the policy decides nothing with fewer than {least} items; needs {least}"
    )


def test_a_limit_under_the_least_number_of_items_is_refused_before_work(tmp_path: Path) -> None:
    line = (
        f"run --method gptq --bits 4 --dimensions ethics --limit 5 --policy {floor(tmp_path, 60)}"
    )
    error = CliRunner().invoke(comptrust, line.split()).exception
    assert isinstance(error, UserError)
    assert "ethics has 6 items (limit 5), but policy p decides nothing" in str(error)


def test_the_plan_of_a_sample_is_printed() -> None:
    for limit, items in (("20", "20 +20"), ("50%", "320 +320")):
        shown = CliRunner().invoke(comptrust, ["gate", "--plan", "--limit", limit])
        assert shown.exit_code == 0
        assert f"suite mini, limit {limit}\n" in shown.output
        assert re.search(rf"toxicity +{items} ", shown.output)


def test_the_plan_is_printed() -> None:
    shown = CliRunner().invoke(comptrust, ["gate", "--plan", "--policy", "staging"])
    assert shown.exit_code == 0
    assert "5 points (all)" in shown.output
    assert re.search(r"fairness +810 +405 +0.25 +\d+  yes", shown.output)
    assert re.search(r"ethics +408 +408 +0.25 +\d+  no: passes too rarely with 408", shown.output)
    assert "80% power" in shown.output
