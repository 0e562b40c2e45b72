"""A verdict on the terminal: what applies, what blocks, what is open, each named once."""

from comptrust.cli import verdicts
from comptrust.records import Finding, Verdict


def verdict(*findings: Finding) -> Verdict:
    return Verdict(
        policy="staging",
        policy_digest="a" * 64,
        checkpoint_digest="b" * 64,
        baseline_digest="c" * 64,
        scorecard_digest="d" * 64,
        findings=findings,
    )


def drop(outcome: str, scope: str, **dimensions: str) -> Finding:
    rows = {name: {"outcome": result} for name, result in dimensions.items()}
    evidence = {"scope": scope, "dimensions": rows}
    return Finding(rule="max_drop", outcome=outcome, reason="Why.", evidence=evidence)


def test_the_decision_names_what_blocks_and_what_is_open() -> None:
    blocked = verdict(
        Finding(rule="fresh", outcome="pass", reason="Both by version 0."),
        drop("block", "5 points", ood="block", mmlu="inconclusive", ethics="pass"),
        Finding(rule="readable", outcome="inconclusive", reason="Unreadable."),
    )
    assert verdicts.decision(blocked) == (
        "verdict: BLOCK under policy staging; blocked by: max_drop (5 points) [ood]; open:"
        " max_drop (5 points) [mmlu], readable"
    )
    assert verdicts.decision(verdict(drop("pass", "5 points", ood="pass"))) == (
        "verdict: PASS under policy staging"
    )


def test_rules_that_do_not_apply_share_one_line() -> None:
    absent = {"applies": False}
    lines = verdicts.findings(
        verdict(
            drop("pass", "5 points", ood="pass"),
            Finding(
                rule="max_drop",
                outcome="pass",
                reason="No.",
                evidence=absent | {"scope": "3 points, 8 bits or more"},
            ),
            Finding(rule="calibration_seeds", outcome="pass", reason="No.", evidence=absent),
        )
    )
    assert lines == [
        "rule                 verdict  why",
        "max_drop (5 points)  pass     Why.",
        "Rules that do not apply: max_drop (3 points, 8 bits or more), calibration_seeds.",
        "",
        "verdict: PASS under policy staging",
    ]
