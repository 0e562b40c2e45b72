"""The server counts the suites and dense sources that its policy or its log names, no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from comptrust.gate.enforcement import audit
from comptrust.gate.enforcement.store import GuardedStore
from comptrust.records import Suite
from tests.support.enforcement import forgeries as forge
from tests.support.enforcement.inprocess import a_pass, log, promote, refused
from tests.support.enforcement.world import BAD, DENSE, GOOD, Candidate, World, questions


@pytest.mark.parametrize(
    ("suite", "digest", "says"),
    [
        (
            lambda: forge.all_b(name="decodingtrust", revision="official"),
            "",
            "which policy production does not name",
        ),
        (lambda: forge.all_b(copies=True), "", "which policy production does not name"),
        (forge.all_b, questions().digest, "answers to other prompts than all of suite questions"),
        (
            forge.lucky_sample,
            "",
            "answers to other prompts than the seeded sample (limit 4) of suite mini",
        ),
    ],
)
def test_other_questions_than_the_policy_names(
    inside: World, suite: Callable[[], Suite], digest: str, says: str
) -> None:
    candidate = inside.register(BAD)
    forge.asked_others(suite(), digest=digest)(inside, candidate)
    message = refused(promote, inside, candidate)
    assert "Verdict inconclusive under policy production. suite: " in message
    assert says in message and "\n" not in message
    inside.pass_truly(candidate)
    promote(inside, candidate)


def grants(inside: World) -> list[tuple[str, str]]:
    records = audit.read(Path(f"{inside.folder}/mlflow.db.audit.jsonl")).lines
    return [(one.grant.dense, one.grant.baseline) for one in records if one.grant]


def digest_of(candidate: Candidate) -> str:
    return str(json.loads((candidate.evidence / "checkpoint.json").read_text())["digest"])


@pytest.mark.parametrize("make", [forge.another_family, forge.weak_baseline])
def test_a_name_stays_with_the_dense_source_of_its_first_grant(
    inside: World, make: Callable[[World], Candidate]
) -> None:
    candidate = make(inside)
    assert inside.dense is not None
    own = digest_of(inside.dense)
    message = refused(promote, inside, candidate)
    assert f"is the name of what is made from {own} (version 1, record 1 of the log)" in message
    assert "let `sources:` in policy production of the server name the new `checkpoint`" in message
    # Archiving what was granted frees no name.
    store = GuardedStore(f"comptrust+sqlite:///{inside.folder}/mlflow.db")
    store.transition_model_version_stage(candidate.name, "1", "Archived", False)
    assert "is the name of what is made from" in refused(promote, inside, candidate)
    # A better version of the same family takes its place.
    honest = inside.register(GOOD, name=candidate.name)
    inside.pass_truly(honest)
    promote(inside, honest)
    assert {dense for dense, _ in grants(inside)} == {own}
    assert all(baseline for _, baseline in grants(inside))


def test_the_policy_moves_a_name_to_another_source(inside: World) -> None:
    candidate = forge.another_family(inside)
    evidence = json.loads((candidate.evidence / "verdict.json").read_text())
    policy = inside.folder / "production.yaml"
    text = policy.read_text()
    for source, says in (
        ({"checkpoint": "0" * 64}, "source: The policy binds model-"),
        ({"base_model": "builtin:tiny", "revision": "r1"}, "is the name of what is made from"),
        ({"checkpoint": evidence["baseline_digest"]}, ""),
    ):
        policy.write_text(f"{text}sources: {json.dumps({'model-*': source})}\n")
        store = GuardedStore(f"comptrust+sqlite:///{inside.folder}/mlflow.db")
        ask = (candidate.name, "champion", candidate.version)
        if says:
            assert says in refused(store.set_registered_model_alias, *ask)
        else:
            store.set_registered_model_alias(*ask)
    assert grants(inside)[-1][0] == evidence["baseline_digest"]
    # From now on the log binds the name to the new one.
    policy.write_text(text)
    old = inside.register(GOOD, name=candidate.name)
    inside.pass_truly(old)
    assert "is the name of what is made from" in refused(promote, inside, old)


def test_the_first_grant_needs_no_source(inside: World) -> None:
    candidate = a_pass(inside)
    promote(inside, candidate)
    promote(inside, candidate, "challenger")
    said = [line.finding for line in log(inside).lines]
    assert inside.dense is not None
    bound = (
        f"first grant of this name, which binds it to the dense checkpoint {grants(inside)[0][0]}"
    )
    assert [bound in finding for finding in said] == [True, False]
    other = inside.register(GOOD, name="other")
    inside.dense = inside.register(GOOD, name="another-dense", **DENSE)
    inside.gate(other)
    promote(inside, other)
    assert len({dense for dense, _ in grants(inside)}) == 2
