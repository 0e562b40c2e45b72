"""Pins of small suites, so that policies of tests name what their evaluations were asked."""

from __future__ import annotations

import dataclasses

from comptrust.gate.pins import PinnedSuite
from comptrust.gate.policy import Policy
from comptrust.records import Suite
from comptrust.trust import content
from comptrust.trust.evaluation import Evaluation


def of_suite(suite: Suite, **items_at_least: int) -> PinnedSuite:
    """Pin a whole suite, which answers then prove without its data."""
    return PinnedSuite(
        name=suite.name,
        digest=suite.digest,
        content=content.of_suite(suite),
        items_at_least=items_at_least,
    )


def of_answers(evaluation: Evaluation, **items_at_least: int) -> PinnedSuite:
    """Pin what an evaluation was asked, whatever that is."""
    assert evaluation.suite
    return PinnedSuite(
        name=evaluation.suite.name,
        digest=evaluation.suite.digest,
        content=content.of_answers(evaluation),
        items_at_least=items_at_least,
    )


def naming(policy: Policy, *evaluations: Evaluation | None) -> Policy:
    """Return a policy that names what the evaluations were asked."""
    return dataclasses.replace(policy, suites=tuple(map(of_answers, filter(None, evaluations))))


def text(*pins: PinnedSuite) -> str:
    """Return the lines of a policy file that name pinned suites."""
    listed = "".join(f"  - {pin.model_dump_json(exclude_none=True)}\n" for pin in pins)
    return f"suites:\n{listed}"
