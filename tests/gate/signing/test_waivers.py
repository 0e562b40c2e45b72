"""Waivers: only a signed one, in force and for this checkpoint, accepts a finding.

The finding must be inconclusive and its rule waivable.
"""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptrust.gate.policy import Policy
from comptrust.gate.rules.complete import Complete
from comptrust.gate.rules.refusal_shift import RefusalShift
from comptrust.gate.signing import keys, waivers
from comptrust.gate.signing.roles import TrustedKey
from comptrust.gate.signing.waivers import Waiver
from comptrust.gate.verdict import judge
from tests.support import pins
from tests.support.evaluations import EIGHT, checkpoint, pair, policy

TODAY = datetime.date(2030, 1, 1)
KEY = Ed25519PrivateKey.generate()
TRUSTED = {keys.key_id(KEY.public_key()): TrustedKey(KEY.public_key())}
DIGEST = checkpoint(EIGHT, size=500).digest
PLAIN = Waiver(rule="refusal_shift", checkpoint=DIGEST, who="Ada", why="read them", until=TODAY)


def made(**changes: Any) -> Waiver:
    return keys.sign(PLAIN.model_copy(update=changes), KEY)


def after(**changes: Any) -> Waiver:
    """Change a signed waiver."""
    return made().model_copy(update=changes)


@pytest.mark.parametrize(
    ("waiver", "outcome", "state"),
    [
        (made(), "pass", "accepted"),
        (PLAIN, "inconclusive", "ignored: not signed"),
        (
            keys.sign(PLAIN, Ed25519PrivateKey.generate()),
            "inconclusive",
            "ignored: it is signed by key",
        ),
        (made(until=datetime.date(2029, 12, 31)), "inconclusive", "ignored: expired"),
        (made(checkpoint="another"), "inconclusive", "ignored: for another checkpoint"),
        (after(who="Bob"), "inconclusive", "ignored: it was changed"),
        (after(why="hurry"), "inconclusive", "ignored: it was changed"),
        (after(until=datetime.date(2040, 1, 1)), "inconclusive", "ignored: it was changed"),
        (
            made(checkpoint="another").model_copy(update={"checkpoint": DIGEST}),
            "inconclusive",
            "ignored: it was changed",
        ),
        (
            made(rule="complete").model_copy(update={"rule": "refusal_shift"}),
            "inconclusive",
            "ignored: it was changed",
        ),
        (after(signature=""), "inconclusive", "ignored: not signed"),
        (after(signature="no base64!"), "inconclusive", "ignored: it was changed"),
        (after(key_id=""), "inconclusive", "(none)"),
    ],
)
@pytest.mark.parametrize("place", ["given", "in the policy"])
def test_only_a_signed_waiver_in_force_counts(
    waiver: Waiver, outcome: str, state: str, place: str
) -> None:
    given = {"waivers": [waiver]} if place == "given" else {}
    rules = (
        policy(RefusalShift())
        if given
        else Policy(name="p", rules=(RefusalShift(),), waivers=(waiver,))
    )
    evidence = pair(EIGHT, 80, refusal=50.0)
    rules = pins.naming(rules, evidence.candidate)
    verdict = judge(evidence, rules, **given, trusted=TRUSTED, today=TODAY)
    finding = verdict.findings[-1]
    assert finding.outcome == outcome
    assert state in finding.evidence["waivers"][0]["state"]
    assert ("Accepted by Ada" if outcome == "pass" else state) in finding.reason
    assert waivers.accepted(verdict.findings) == ((waiver,) if outcome == "pass" else ())


def test_without_trusted_keys_no_waiver_counts() -> None:
    assert (
        judge(
            pair(EIGHT, 80, refusal=50.0), policy(RefusalShift()), waivers=[made()], today=TODAY
        ).outcome
        == "inconclusive"
    )


def test_a_good_waiver_counts_beside_a_bad_one() -> None:
    evidence = pair(EIGHT, 80, refusal=50.0)
    verdict = judge(
        evidence,
        pins.naming(policy(RefusalShift()), evidence.candidate),
        waivers=[PLAIN, made()],
        trusted=TRUSTED,
        today=TODAY,
    )
    assert verdict.findings[-1].outcome == "pass"
    assert [entry["state"] for entry in verdict.findings[-1].evidence["waivers"]] == [
        "ignored: not signed",
        "accepted",
    ]


def test_other_rules_and_blocks_cannot_be_waived() -> None:
    waiver = made(rule="complete")
    verdict = judge(
        pair(EIGHT, None), policy(Complete()), waivers=[waiver], trusted=TRUSTED, today=TODAY
    )
    assert verdict.outcome == "inconclusive" and "cannot be waived" in verdict.findings[-1].reason
    blocked = RefusalShift().finding("block", "Refuses everything.")
    found = waivers.apply(
        blocked,
        [made()],
        waivable=True,
        checkpoint_digest=DIGEST,
        trusted=TRUSTED,
        scope={"today": TODAY},
    )
    assert (
        found.outcome == "block"
        and found.evidence["waivers"][0]["state"] == "not used: the finding is block"
    )


@pytest.mark.parametrize("field", ["rule", "checkpoint", "who", "why"])
def test_blank_fields_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match="must not be blank"):
        Waiver.model_validate(PLAIN.model_dump() | {field: " "})
