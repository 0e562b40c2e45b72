"""Evidence made by release 0.1.0 still reads, verifies and is judged alike.

`tests/data/release-0.1.0` holds two evaluations, a registered model, a signed attestation, a waiver
and the public key, as that release wrote them.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comptrust import config
from comptrust.gate import policy as policies
from comptrust.gate.evidence import Evidence
from comptrust.gate.signing import attestations, keys, waivers
from comptrust.gate.signing.attestations import Attestation
from comptrust.gate.verdict import judge
from comptrust.records import Checkpoint, Recipe, Scorecard, SuiteManifest, Verdict
from comptrust.trust import evaluation
from comptrust.trust.generations import read_generations
from tests.support import pins

KEPT = Path(__file__).parents[1] / "data" / "release-0.1.0"
TRUSTED = keys.load_public_keys(KEPT / "5d7f1cbda7daece5.pub.pem")
DIGESTS = json.loads((KEPT / "digests.json").read_text())["policies"]
ROLES = ("candidate", "baseline")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a copy that a test may change."""
    return Path(shutil.copytree(KEPT, tmp_path / "kept"))


def attestation(folder: Path = KEPT) -> Attestation:
    return attestations.read(folder / "candidate" / attestations.NAME)


def evidence() -> Evidence:
    return Evidence(
        candidate=evaluation.load(KEPT / "candidate", ref="candidate"),
        baseline=evaluation.load(KEPT / "baseline", ref="baseline"),
    )


def problems(folder: Path) -> list[str]:
    """Return every problem of the attestation and of the files that it names."""
    signed = attestation(folder)
    tomorrow = signed.issued + datetime.timedelta(days=1)
    found = attestations.problems(
        signed, trusted=TRUSTED, run_id=signed.run_id, model=signed.model, now=tomorrow
    )
    found += attestations.changes(signed, {role: folder / role for role in ROLES})
    found += attestations.changed_artifact(signed, attestations.held_by(folder / "registered"))
    return [str(problem) for problem in found]


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("scorecard", Scorecard),
        ("suite", SuiteManifest),
        ("checkpoint", Checkpoint),
        ("recipe", Recipe),
        ("verdict", Verdict),
        ("attestation", Attestation),
    ],
)
def test_every_record_parses_and_is_written_alike(name: str, record: Any) -> None:
    files = sorted(KEPT.glob(f"*/{name}.json"))
    assert files
    for path in files:
        fields = config.read_json(path)
        assert json.loads(record.model_validate(fields).model_dump_json()) == fields


@pytest.mark.parametrize("role", ROLES)
def test_every_answer_is_read(role: str) -> None:
    for path in sorted((KEPT / role / "generations").iterdir()):
        assert len(list(read_generations(path))) == len(path.read_text().splitlines())


def test_the_attestation_is_proven_by_the_kept_key() -> None:
    assert keys.proven(attestation(), TRUSTED)
    assert problems(KEPT) == []


def test_the_waiver_verifies() -> None:
    (waiver,) = waivers.read(KEPT / waivers.NAME)
    assert keys.proven(waiver, TRUSTED)
    assert waivers.dumps([waiver]) == (KEPT / waivers.NAME).read_text()
    assert not keys.proven(waiver.model_copy(update={"who": "Bob"}), TRUSTED)


@pytest.mark.parametrize(
    "name",
    [
        "candidate/scorecard.json",
        "candidate/verdict.json",
        "candidate/generations/mmlu.jsonl",
        "baseline/suite.json",
        "baseline/generations/ood.jsonl",
        "registered/MLmodel",
        "registered/model/model.safetensors",
    ],
)
def test_a_changed_byte_is_found(name: str, kept: Path) -> None:
    content = bytearray((kept / name).read_bytes())
    content[-1] ^= 1
    (kept / name).write_bytes(bytes(content))
    role, _, file = name.partition("/")
    named = f"baseline/{file}" if role == "baseline" else file
    assert problems(kept) == [f"{named} was changed since it was signed."]


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields["verdict"]["findings"][1].update(reason="Fine."),
        lambda fields: fields.update(model="another"),
        lambda fields: fields.update(expires="2099-01-01T00:00:00Z"),
    ],
)
def test_a_changed_field_of_the_attestation_is_found(
    change: Callable[[dict[str, Any]], None], kept: Path
) -> None:
    path = kept / "candidate" / attestations.NAME
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    assert not keys.proven(attestation(kept), TRUSTED)
    assert [text for text in problems(kept) if text.startswith(attestations.NAME)]


def test_judging_again_gives_the_same_outcomes_and_numbers() -> None:
    before = config.parse(config.read_json(KEPT / "candidate/verdict.json"), Verdict, where="kept")
    kept, policy = evidence(), policies.load(str(KEPT / "policy.yaml"))
    after = judge(kept, policy)
    # Since then a policy names the suites that count, and this one names none.
    added = after.findings[1]
    assert (added.rule, added.outcome, after.outcome) == ("suite", "inconclusive", "inconclusive")
    after = judge(kept, pins.naming(policy, kept.candidate))
    assert after.outcome == before.outcome == "pass"
    findings = tuple(found for found in after.findings if found.rule != "suite")
    # Since then digests have another form; those of before still name the same.
    older = {"scorecard_digest": before.scorecard_digest, "policy_digest": before.policy_digest}
    assert before.scorecard_digest in kept.candidate.scorecard.digests
    assert before.policy_digest in policy.digests
    after = after.model_copy(update={"findings": findings} | older)
    wordless = {"findings": {"__all__": {"reason": True, "evidence": {"scope"}}}}
    told = after.model_dump(exclude=wordless)
    for finding in told["findings"]:  # since then the scores themselves are told as well
        for row in finding["evidence"].get("dimensions", {}).values():
            row.pop("dense", None), row.pop("compressed", None)
    assert told == before.model_dump(exclude=wordless)


def test_where_keys_are_trusted_it_must_be_evaluated_again() -> None:
    verdict = judge(evidence(), policies.load(str(KEPT / "policy.yaml")), trusted=TRUSTED)
    [finding] = [finding for finding in verdict.findings if finding.rule == "measured"]
    assert (
        finding.outcome == "inconclusive"
        and "is not signed by the machine that evaluated it" in finding.reason
    )


@pytest.mark.parametrize("name", DIGESTS)
def test_policies_are_known_by_their_digests(name: str) -> None:
    path = str(KEPT / name) if name.endswith(".yaml") else name
    policy = policies.load(path)
    if name == "literal":  # since then it guards no stage, which its digest says
        assert not policy.stages
        policy = dataclasses.replace(policy, stages=True)
    assert policy.digests == (policy.digest, DIGESTS[name]) and policy.digest != DIGESTS[name]
