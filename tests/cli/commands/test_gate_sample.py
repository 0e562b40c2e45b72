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


def gate(card: Path) -> Result:
    arguments = ["gate", str(card), "--baseline", str(card), "--suite", "mini", "--json"]
    return CliRunner().invoke(comptrust, arguments)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Return the scorecard of answers to a sample of mini."""
    return samples.evaluation(tmp_path)


def test_a_sample_of_the_suite_is_judged(card: Path) -> None:
    shown = gate(card)
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
    error = gate(card).exception
    assert isinstance(error, UserError) and message in str(error)
