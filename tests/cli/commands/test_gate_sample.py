"""`comptrust gate --suite`: answers to other prompts than the record states are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from comptrust.cli.app import comptrust
from comptrust.errors import UserError
from tests.support import samples


def gate(card: Path, *options: str) -> Result:
    arguments = ["gate", str(card), "--baseline", str(card), *options, "--json"]
    return CliRunner().invoke(comptrust, arguments)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Return the scorecard of answers to a sample of mini."""
    return samples.evaluation(tmp_path)


def test_a_sample_of_the_suite_is_judged(card: Path) -> None:
    shown = gate(card, "--suite", "mini")
    assert shown.exit_code == 3 and json.loads(shown.stdout)["outcome"] == "inconclusive"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields.update(limit=3), "other prompts than its suite.json"),
        (lambda fields: fields["sample"].update(seed=7), "other prompts than its suite.json"),
        (lambda fields: fields["sample"].update(parent="0" * 64), "which is not 'mini'"),
        (lambda fields: fields.pop("sample"), "no random sample. Evaluate it again."),
        (lambda fields: fields["required"].pop("ethics"), "which is not 'mini'"),
    ],
)
def test_a_record_that_is_not_of_the_suite_is_refused(
    change: Callable[[dict[str, Any]], None], message: str, card: Path
) -> None:
    path = card.parent / "suite.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    error = gate(card, "--suite", "mini").exception
    assert isinstance(error, UserError) and message in str(error)


def rewrite(path: Path, **changes: Any) -> None:
    """Change fields of a JSON file; None removes one."""
    fields = json.loads(path.read_text()) | changes
    kept = {name: value for name, value in fields.items() if value is not None}
    path.write_text(json.dumps(kept))


def test_a_scorecard_of_another_format_is_refused_in_one_line(card: Path) -> None:
    rewrite(card, rendering_digest=None)
    error = gate(card).exception
    assert isinstance(error, UserError) and "\n" not in str(error)
    assert "rendering_digest" in str(error)


def test_nothing_passes_without_items(card: Path) -> None:
    rewrite(card, scores=[], generations={})
    rewrite(card.parent / "suite.json", n_prompts={}, required={})
    findings = json.loads(gate(card, "--policy", "literal").stdout)["findings"]
    assert "There are no dimensions to judge." in {finding["reason"] for finding in findings}
    assert json.loads(gate(card).stdout)["outcome"] == "inconclusive"
