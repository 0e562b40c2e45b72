"""Attestations: anything that is not exactly what a trusted key signed is named."""

from __future__ import annotations

import base64
import copy
import datetime
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.evidence import Evidence
from comptrust.gate.measured import SignedControl
from comptrust.gate.policy import Policy
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.gate.rules.refusal_shift import RefusalShift
from comptrust.gate.signing import attestations, attesting, keys
from comptrust.gate.signing.attestations import Attestation
from comptrust.gate.signing.roles import TrustedKey
from comptrust.gate.signing.waivers import Waiver, accepted
from comptrust.gate.verdict import judge
from comptrust.records import Finding, Result, Verdict
from comptrust.trust import evaluation
from comptrust.trust.control import Control
from comptrust.trust.run import evaluate
from tests.support import measuring, pins
from tests.support.echo import Echo
from tests.support.questions import suite
from tests.support.records import checkpoint_of

NOW = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
TRUSTED = {keys.key_id(KEY.public_key()): TrustedKey(KEY.public_key())}
RUN, DENSE, SIBLING = "1" * 32, "2" * 32, "3" * 32
POLICY = Policy(name="p", rules=(MaxDrop(evidence="observed"),))


def problems(attestation: Attestation, **where: Any) -> tuple[attestations.Problem, ...]:
    place = {"trusted": TRUSTED, "run_id": RUN, "model": "tiny", "now": NOW}
    return attestations.problems(attestation, **(place | where))


@dataclass(frozen=True)
class Case:
    """A judged candidate with its logged files, its registered version and its signed verdict."""

    artifacts: dict[str, Path]
    registered: Path
    evidence: Evidence
    verdict: Verdict
    attestation: Attestation

    def found(self, **where: Any) -> tuple[attestations.Problem, ...]:
        """Return all that is wrong, as a verifier sees it."""
        artifacts = where.pop("artifacts", self.artifacts)
        about = problems(self.attestation, **where)
        about += attestations.changes(self.attestation, artifacts)
        return about + attestations.changed_artifact(
            self.attestation, attestations.held_by(self.registered)
        )


def logged(folder: Path, answer: str, **recipe: Any) -> evaluation.Evaluation:
    """Write a registered version with a checkpoint of two files, and its evaluation."""
    weights = folder / "registered" / "model"
    (weights / "sub").mkdir(parents=True)
    (weights.parent / "MLmodel").write_text("flavors: {}")
    (weights / "model.safetensors").write_bytes(answer.encode() * 100)
    (weights / "sub" / "config.json").write_text("{}")
    checkpoint = checkpoint_of(weights, **recipe)
    artifacts = folder / "artifacts"
    evaluate(Echo(answer), suite(), out=artifacts, checkpoint_digest=checkpoint.digest)
    for unlogged in [artifacts / "owner.json", *(artifacts / "generations").glob(".*")]:
        unlogged.unlink()
    (artifacts / "checkpoint.json").write_text(checkpoint.model_dump_json(indent=2))
    if checkpoint.recipe.method == "none":
        card = evaluation.load(artifacts, ref="here").scorecard
        planted = Control(
            scorecard_digest=card.digest_of_fields(),
            seeds=1,
            beyond=5.0,
            planted=(),
            floors={"mmlu": 0.5},
        )
        planted = keys.sign(SignedControl(**dict(planted)), KEY)
        (artifacts / "control.json").write_text(planted.model_dump_json())
    return evaluation.load(artifacts, ref=f"runs:/{folder.name}")


def attest(
    evidence: Evidence, verdict: Verdict, artifacts: dict[str, Path], *, days: int = 90
) -> Attestation:
    (artifacts["candidate"] / "verdict.json").write_text(verdict.model_dump_json(indent=2))
    runs = {"candidate": RUN, "baseline": DENSE}
    registered = artifacts["candidate"].parent / "registered"
    return attesting.attest(
        verdict,
        evidence,
        artifacts=artifacts,
        run_ids=runs,
        model="tiny",
        key=KEY,
        days=days,
        registered=registered,
        now=NOW,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("made")
    candidate = logged(folder / RUN, "A")
    baseline = logged(folder / DENSE, "B", method="none", bits=None, group_size=None)
    artifacts = {"candidate": folder / RUN / "artifacts", "baseline": folder / DENSE / "artifacts"}
    evidence = Evidence(candidate, baseline, siblings=(logged(folder / SIBLING, "A", seed=1),))
    verdict = judge(evidence, pins.naming(POLICY, candidate))
    return Case(
        artifacts,
        folder / RUN / "registered",
        evidence,
        verdict,
        attest(evidence, verdict, artifacts),
    )


@pytest.fixture
def case(made: Case, tmp_path: Path) -> Case:
    """The same, in a copy that a test may change."""
    shutil.copytree(made.registered.parents[1], tmp_path / "copy")
    artifacts = {
        role: tmp_path / "copy" / run / "artifacts"
        for role, run in (("candidate", RUN), ("baseline", DENSE))
    }
    return replace(made, artifacts=artifacts, registered=tmp_path / "copy" / RUN / "registered")


def test_what_is_as_signed_is_good(case: Case) -> None:
    assert case.found() == ()
    signed = case.attestation
    assert (digests.of_value(signed.weights), signed.verdict.policy_digest) == (
        case.evidence.candidate.scorecard.checkpoint_digest,
        pins.naming(POLICY, case.evidence.candidate).digest,
    )
    assert signed.expires - signed.issued == 90 * DAY
    assert signed.scorecards["baseline"] == case.evidence.baseline.scorecard.digest_of_fields()
    assert Attestation.model_validate_json(signed.model_dump_json(indent=2)) == signed


FILES = [
    *(
        (role, name)
        for role in ("candidate", "baseline")
        for name in ("scorecard.json", "suite.json", "checkpoint.json", "generations/mmlu.jsonl")
    ),
    ("candidate", "verdict.json"),
    ("baseline", "control.json"),
    ("registered", "MLmodel"),
    ("registered", "model/model.safetensors"),
    ("registered", "model/sub/config.json"),
]


def test_every_signed_file_is_in_the_table(made: Case) -> None:
    signed = {(role, name) for role, files in made.attestation.files.items() for name in files}
    assert signed | {("registered", name) for name in made.attestation.artifact} == set(FILES)


@pytest.mark.parametrize(
    "how", ["first byte", "middle byte", "last byte", "byte added", "cut", "removed"]
)
@pytest.mark.parametrize(("role", "name"), FILES)
def test_a_changed_byte_is_named_by_its_file(role: str, name: str, how: str, case: Case) -> None:
    path = (case.registered if role == "registered" else case.artifacts[role]) / name
    content = bytearray(path.read_bytes())
    if how == "removed":
        path.unlink()
    elif how in ("byte added", "cut"):
        path.write_bytes(content + b"\n" if how == "byte added" else content[:-1])
    else:
        content[{"first byte": 0, "middle byte": len(content) // 2, "last byte": -1}[how]] ^= 1
        path.write_bytes(content)
    [problem] = case.found()
    assert (problem.kind, problem.file) == (
        "changed",
        f"baseline/{name}" if role == "baseline" else name,
    )
    assert problem.file in problem.text


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("candidate", "generations/ethics.jsonl"),
        ("registered", "model/extra.bin"),
        ("registered", "code/loader.py"),
    ],
)
def test_an_added_file_is_named(role: str, name: str, case: Case) -> None:
    path = (case.registered if role == "registered" else case.artifacts[role]) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    assert [one.text for one in case.found()] == [f"{name} was added since it was signed."]


def test_noise_floors_that_are_measured_later_are_no_change(case: Case) -> None:
    shutil.copy(case.artifacts["baseline"] / "control.json", case.artifacts["candidate"])
    assert case.found() == ()


def test_a_baseline_that_is_gone_is_not_good(case: Case) -> None:
    found = case.found(artifacts={"candidate": case.artifacts["candidate"]})
    assert {one.file for one in found} == {
        f"baseline/{name}" for role, name in FILES if role == "baseline"
    }


@pytest.mark.parametrize(
    ("where", "says"),
    [({"run_id": DENSE}, f"belongs to run {RUN}"), ({"model": "other"}, "belongs to model tiny")],
)
def test_a_replay_elsewhere_is_named(where: dict[str, str], says: str, case: Case) -> None:
    [problem] = case.found(**where)
    assert problem.kind == "changed" and says in problem.text


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each single value of nested JSON stands."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else []
    )
    if not items:
        yield path
    for key, inner in items:
        yield from leaves(inner, (*path, key))


def other(value: Any) -> Any:
    """Return a value of the same kind that differs as little as can be."""
    if isinstance(value, bool) or value is None:
        return not value
    if value == "pass":
        return "block"
    if isinstance(value, str) and value.endswith("Z"):
        return value.replace("12:00", "12:01")
    if isinstance(value, str):
        return value[:-1] + ("1" if value[-1:] != "1" else "2")
    return (
        value + 1
        if isinstance(value, int | float)
        else {"more": "x"}
        if isinstance(value, dict)
        else ["x"]
    )


def test_every_field_of_the_attestation_is_signed(made: Case) -> None:
    data = json.loads(made.attestation.model_dump_json())
    places = list(leaves(data))
    assert {place[0] for place in places} == Attestation.model_fields.keys()
    assert ("siblings", f"runs:/{SIBLING}", "checkpoint.json") in places
    for place in places:
        changed = copy.deepcopy(data)
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = other(inner[place[-1]])
        attestation = Attestation.model_validate(changed)
        [problem] = problems(attestation)
        assert problem.kind == ("unverified" if place == ("key_id",) else "changed"), place
        assert not keys.proven(attestation, TRUSTED), place


def without(*names: str) -> Callable[[Attestation], Attestation]:
    return lambda signed: signed.model_copy(update=dict.fromkeys(names, ""))


def by_another_key(signed: Attestation) -> Attestation:
    return keys.sign(signed, OTHER)


def by_another_key_under_the_trusted_name(signed: Attestation) -> Attestation:
    return keys.sign(signed, OTHER).model_copy(update={"key_id": signed.key_id})


def spelled_otherwise(signed: Attestation) -> Attestation:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    text = signed.signature
    twin = text[:-3] + letters[letters.index(text[-3]) ^ 1] + text[-2:]
    assert base64.b64decode(twin) == base64.b64decode(text)
    return signed.model_copy(update={"signature": twin})


class Elsewhere(Attestation):
    purpose = "something-else/v1"


def for_another_purpose(signed: Attestation) -> Attestation:
    return signed.model_copy(
        update={"signature": keys.sign(Elsewhere(**dict(signed)), KEY).signature}
    )


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (without("signature"), "unverified"),
        (without("key_id"), "unverified"),
        (without("signature", "key_id"), "unverified"),
        (by_another_key, "unverified"),
        (by_another_key_under_the_trusted_name, "changed"),
        (spelled_otherwise, "changed"),
        (for_another_purpose, "changed"),
        (lambda signed: signed.model_copy(update={"signature": "ÄÖ"}), "changed"),
        (lambda signed: signed.model_copy(update={"signature": signed.signature[:-4]}), "changed"),
    ],
)
def test_a_signature_that_proves_nothing(
    change: Callable[[Attestation], Attestation], kind: str, made: Case
) -> None:
    changed = change(made.attestation)
    [problem] = problems(changed)
    assert problem.kind == kind
    assert not keys.proven(changed, TRUSTED)


def test_without_trusted_keys_nothing_is_good(made: Case) -> None:
    [problem] = problems(made.attestation, trusted={})
    assert problem.kind == "unverified" and "trusted: none" in problem.text


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (NOW, None),
        (NOW + 90 * DAY - datetime.timedelta(seconds=1), None),
        (NOW + 90 * DAY, "expired on 2030-04-01 12:00 UTC"),
        (NOW - datetime.timedelta(minutes=1), None),
        (NOW - datetime.timedelta(minutes=1, seconds=1), "not valid until"),
        (NOW - DAY, "not valid until"),
    ],
)
def test_a_signature_holds_for_its_time(
    now: datetime.datetime, says: str | None, made: Case
) -> None:
    found = problems(made.attestation, now=now)
    assert [one.kind for one in found] == (["unverified"] if says else [])
    assert all(says in one.text for one in found)


@pytest.mark.parametrize(
    "outcomes", [("block",), ("pass", "block", "inconclusive"), ("pass", "inconclusive"), ()]
)
def test_a_signed_verdict_that_does_not_pass_is_not_good(
    outcomes: tuple[Result, ...], case: Case
) -> None:
    findings = tuple(
        Finding(rule="max_drop", outcome=outcome, reason=f"found {outcome}") for outcome in outcomes
    )
    verdict = case.verdict.model_copy(update={"findings": findings})
    [problem] = problems(attest(case.evidence, verdict, case.artifacts))
    assert problem.kind == verdict.outcome != "pass"
    assert (f"max_drop: found {verdict.outcome}" if outcomes else "no findings") in problem.text


def test_a_verdict_on_other_weights_is_not_good(case: Case) -> None:
    signed = attest(
        case.evidence,
        case.verdict.model_copy(update={"checkpoint_digest": "0" * 64}),
        case.artifacts,
    )
    assert [one.kind for one in problems(signed)] == ["changed"]


def waived(case: Case, until: datetime.date) -> Attestation:
    """Sign a verdict that rests on a waiver."""
    digest = case.evidence.candidate.scorecard.checkpoint_digest
    waiver = keys.sign(
        Waiver(rule="refusal_shift", checkpoint=digest, who="Ada", why="read", until=until), KEY
    )
    rates = [
        score.model_copy(update={"refusal_rate": 50.0})
        for score in case.evidence.candidate.scorecard.scores
    ]
    card = case.evidence.candidate.scorecard.model_copy(update={"scores": tuple(rates)})
    (case.artifacts["candidate"] / "scorecard.json").write_text(card.model_dump_json())
    evidence = Evidence(
        *(
            replace(measuring.signed(case.artifacts[role], KEY), ref=f"runs:/{run}")
            for role, run in (("candidate", RUN), ("baseline", DENSE))
        )
    )
    verdict = judge(
        evidence,
        pins.naming(Policy(name="p", rules=(RefusalShift(),)), evidence.candidate),
        waivers=[waiver],
        trusted=TRUSTED,
        today=NOW.date(),
    )
    assert verdict.outcome == "pass"
    return attest(evidence, verdict, case.artifacts)


def test_a_verdict_ends_with_the_waiver_that_it_rests_on(case: Case) -> None:
    signed = waived(case, datetime.date(2030, 1, 5))
    assert [one.who for one in accepted(signed.verdict.findings)] == ["Ada"]
    assert signed.expires == datetime.datetime(2030, 1, 6, tzinfo=datetime.UTC)
    assert waived(case, datetime.date(2031, 1, 1)).expires == NOW + 90 * DAY


def test_a_waiver_by_an_untrusted_key_spoils_the_verdict(case: Case) -> None:
    signed = keys.sign(waived(case, datetime.date(2030, 1, 5)), OTHER)
    only_other = {keys.key_id(OTHER.public_key()): TrustedKey(OTHER.public_key())}
    [problem] = problems(signed, trusted=only_other)
    assert problem.kind == "unverified" and "waiver of Ada" in problem.text


@pytest.mark.parametrize(
    "name",
    ["scorecard.json", "suite.json", "checkpoint.json", "generations/mmlu.jsonl", "verdict.json"],
)
def test_files_that_changed_while_they_were_judged_are_not_signed(name: str, case: Case) -> None:
    path = case.artifacts["candidate"] / name
    text = path.read_text()
    path.write_text(
        text.replace("mmlu", "mmlV")
        if name != "checkpoint.json"
        else text.replace('"sparsity": 0.0', '"sparsity": 0.5')
    )
    with pytest.raises(UserError, match=r"[Gg]ate it again|Evaluate again"):
        attesting.attest(
            case.verdict,
            case.evidence,
            artifacts=case.artifacts,
            run_ids={"candidate": RUN, "baseline": DENSE},
            model="tiny",
            key=KEY,
            days=1,
        )


def test_a_candidate_without_known_weights_is_not_signed(case: Case) -> None:
    evidence = Evidence(replace(case.evidence.candidate, checkpoint=None), case.evidence.baseline)
    with pytest.raises(UserError, match="weights are not known"):
        attest(evidence, case.verdict, case.artifacts)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "[" * 100_000, "1" * 10_000, '{"verdict": "\\ud800"}']
)
def test_what_is_no_attestation_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / attestations.NAME).write_text(text)
    with pytest.raises(UserError, match=attestations.NAME) as caught:
        attestations.read(tmp_path / attestations.NAME)
    assert "\n" not in str(caught.value)


def test_registered_files_that_are_not_the_judged_ones_are_not_signed(case: Case) -> None:
    (case.registered / "model" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(
        UserError,
        match="the registered files are not the judged ones. model.safetensors was changed",
    ):
        attest(case.evidence, case.verdict, case.artifacts)


def test_a_verdict_signed_before_registration_does_not_cover_the_files(
    case: Case,
) -> None:
    unregistered = case.attestation.model_copy(update={"artifact": {}})
    [problem] = attestations.changed_artifact(unregistered, attestations.held_by(case.registered))
    assert problem.kind == "unverified"


def test_what_mlflow_adds_when_it_fetches_a_version_is_no_change(case: Case) -> None:
    (case.registered / "registered_model_meta").write_text("model_name: tiny")
    assert case.found() == ()
