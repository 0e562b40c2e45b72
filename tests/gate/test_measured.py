"""Evaluations count only as the machine that evaluated signed them, once keys are trusted."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptrust import digests
from comptrust.gate import measured, policy
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.rules.complete import Complete
from comptrust.gate.signing import keys, measurements, provenance
from comptrust.gate.signing.roles import Grant, TrustedKey
from comptrust.gate.verdict import judge
from comptrust.trust import evaluation, ledger
from comptrust.trust.control import Control
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.run import evaluate
from comptrust.workflow.measuring import Witness
from tests.support.echo import Echo
from tests.support.measuring import sealed, signed
from tests.support.questions import suite
from tests.support.records import checkpoint_of

KEY, STRANGER, GATE = (Ed25519PrivateKey.generate() for _ in range(3))
ID = {key: keys.key_id(key.public_key()) for key in (KEY, STRANGER, GATE)}
TRUSTED = {
    ID[KEY]: TrustedKey(KEY.public_key()),
    ID[GATE]: TrustedKey(GATE.public_key(), Grant(roles=("gate",))),
}
POLICY = Policy(name="p", rules=(Complete(),))
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
DENSE = {"method": "none", "bits": None, "group_size": None}


def made(
    folder: Path,
    *,
    key: Ed25519PrivateKey | None = KEY,
    answer: str = "A",
    seal: Path | None = None,
    **recipe: object,
) -> Evaluation:
    """Evaluate a model of two files and sign that."""
    weights = folder.with_name(f"{folder.name}-weights")
    weights.mkdir(exist_ok=True)
    (weights / "model.safetensors").write_bytes(folder.name.encode())
    checkpoint = checkpoint_of(weights, **recipe)
    witness = Witness(key, seal)
    ledger = witness.ledger(suite())
    witness.place(folder)
    evaluate(Echo(answer), suite(), out=folder, checkpoint_digest=checkpoint.digest, ledger=ledger)
    (folder / "checkpoint.json").write_text(checkpoint.model_dump_json(indent=2))
    return witness.sign(folder, ledger)


@dataclass(frozen=True)
class Case:
    """A candidate and its dense source, both signed."""

    folder: Path
    evidence: Evidence

    def finding(self, trusted: keys.Trusted = TRUSTED, **fields: str) -> tuple[str, str]:
        """Return outcome and reason for the files as they are now."""
        read = {
            role: evaluation.load(self.folder / role, ref=f"runs:/{role}")
            for role in ("candidate", "baseline")
        }
        rules = replace(POLICY, **fields)
        finding, _ = measured.check(replace(self.evidence, **read), rules, trusted, {})
        assert finding is not None and "\n" not in finding.reason
        return finding.outcome, finding.reason


@pytest.fixture
def case(tmp_path: Path) -> Case:
    candidate = made(tmp_path / "candidate")
    return Case(tmp_path, Evidence(candidate, made(tmp_path / "baseline", **DENSE)))


def test_without_keys_all_is_as_it_was(case: Case) -> None:
    assert measured.check(case.evidence, POLICY, {}, {}) == (None, case.evidence)
    verdict = judge(case.evidence, POLICY)
    assert measured.RULE not in {finding.rule for finding in verdict.findings}


def test_a_signed_measurement_counts_and_is_named(case: Case) -> None:
    verdict = judge(case.evidence, POLICY, trusted=TRUSTED)
    [finding] = [finding for finding in verdict.findings if finding.rule == measured.RULE]
    assert finding.outcome == "pass"
    refs = {case.evidence.candidate.ref, str(case.evidence.baseline and case.evidence.baseline.ref)}
    assert provenance.signers(verdict.findings) == dict.fromkeys(refs, ID[KEY])


def test_what_it_names(case: Case) -> None:
    candidate = case.evidence.candidate
    measurement = measurements.read(candidate)
    assert measurement.checkpoint == candidate.scorecard.checkpoint_digest
    assert measurement.suite == suite().digest
    assert measurement.engine == {"backend": "echo", "dtype": "none"} | candidate.scorecard.engine
    assert set(measurement.files) == {
        "scorecard.json",
        "suite.json",
        "checkpoint.json",
        *(f"generations/{name}.jsonl" for name in candidate.generations),
    }
    assert measurement.began <= measurement.ended
    assert "seal" not in json.loads((case.folder / "candidate" / measurements.NAME).read_text())


def test_a_chain_of_an_earlier_version_counts(case: Case) -> None:
    candidate = case.evidence.candidate
    measurement = measurements.read(candidate)
    older = ledger.head(candidate.generations, measurement.order, digests.of_older)
    assert older != measurement.chain
    for chain, outcome in ((older, "pass"), ("0" * 64, "inconclusive")):
        again = keys.sign(measurement.model_copy(update={"chain": chain}), KEY)
        (case.folder / "candidate" / measurements.NAME).write_text(again.model_dump_json())
        assert case.finding()[0] == outcome


def edit(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def answers(folder: Path) -> None:
    """Replace all answers, and the scorecard that names them."""
    other = made(folder.with_name("other"), key=None, answer="B")
    shutil.copytree(folder.with_name("other"), folder, dirs_exist_ok=True)
    card = other.scorecard.model_copy(
        update={"checkpoint_digest": json.loads(kept(folder))["checkpoint"]}
    )
    (folder / "scorecard.json").write_text(card.model_dump_json(indent=2))


def kept(folder: Path) -> str:
    return (folder / measurements.NAME).read_text()


def copied(folder: Path) -> None:
    """Take the measurement of another run, with the same answers of another model."""
    made(folder.with_name("third"))
    shutil.copy(folder.with_name("third") / measurements.NAME, folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / measurements.NAME).unlink(), "there is no measurement.json"),
        (lambda folder: (folder / measurements.NAME).write_text("[" * 99_999), "not valid JSON"),
        (lambda folder: (folder / measurements.NAME).write_bytes(b"\xff"), "is not UTF-8"),
        (lambda folder: (folder / measurements.NAME).write_text("null"), "field 'content'"),
        (lambda folder: signed(folder, STRANGER), "which is not trusted here"),
        (lambda folder: signed(folder, GATE), "which may not evaluate here"),
        (lambda folder: signed(folder, KEY, imported=True), "was made elsewhere"),
        (edit(measurements.NAME, '"chain":"', '"chain":"0'), "was changed since key"),
        (edit(measurements.NAME, '"key_id"', '"imported":true,"key_id"'), "was changed since"),
        (edit("scorecard.json", '"value": ', '"value":  '), "scorecard.json was changed"),
        (edit("suite.json", '"limit": null', '"limit":  null'), "suite.json was changed"),
        (edit("checkpoint.json", '"seed": 0', '"seed": 1'), "checkpoint.json was changed"),
        (lambda folder: (folder / "suite.json").unlink(), "suite.json is missing"),
        (lambda folder: (folder / "seal.json").write_text("{}"), "seal.json was added"),
        (answers, "was changed"),
        (copied, "was changed"),
    ],
)
@pytest.mark.parametrize("role", ["candidate", "baseline"])
def test_nothing_else_counts(
    case: Case, role: str, change: Callable[[Path], object], says: str
) -> None:
    change(case.folder / role)
    outcome, reason = case.finding()
    assert outcome == "inconclusive" and f"The {role} (runs:/{role})" in reason and says in reason


def floors(folder: Path, key: Ed25519PrivateKey | None, **changes: object) -> None:
    """Put noise floors beside an evaluation; what is changed was not signed so."""
    card = evaluation.load(folder, ref="here").scorecard
    plain = Control(
        scorecard_digest=card.digest_of_fields(),
        seeds=1,
        beyond=5.0,
        planted=(),
        floors={"mmlu": 1},
    )
    kept = keys.sign(measured.SignedControl(**dict(plain)), key) if key else plain
    (folder / "control.json").write_text(kept.model_copy(update=changes).model_dump_json())


@pytest.mark.parametrize(
    ("key", "changes", "says"),
    [
        (KEY, {}, ""),
        (None, {"floors": {}}, ""),
        (None, {}, "control.json of the baseline is signed by key (none)"),
        (STRANGER, {}, "which is not trusted here"),
        (GATE, {}, "which may not evaluate here"),
        (KEY, {"floors": {"mmlu": 0.1}}, "was changed since key"),
    ],
)
def test_noise_floors_count_only_as_measured(
    case: Case, key: Ed25519PrivateKey | None, changes: dict[str, object], says: str
) -> None:
    floors(case.folder / "baseline", key, **changes)
    outcome, reason = case.finding()
    assert (outcome == "pass") == (not says) and says in reason


def test_evaluations_made_elsewhere_count_if_policy_and_role_say_so(case: Case) -> None:
    signed(case.folder / "baseline", KEY, imported=True)
    assert case.finding(evidence="imported")[0] == "pass"
    only = {ID[KEY]: TrustedKey(KEY.public_key(), Grant(roles=("evaluate",)))}
    assert "may not import here" in case.finding(only, evidence="imported")[1]


@pytest.mark.parametrize(
    ("grant", "says"),
    [
        (Grant(roles=("evaluate",), until=NOW.date() - DAY), "is trusted only until"),
        (Grant(roles=("evaluate",), models=("prod-*",)), "may not sign for model tiny"),
        (Grant(roles=("evaluate",), levels=("staging",)), "may not sign for production"),
        (Grant(roles=("evaluate",), until=NOW.date() + DAY, models=("t*",)), ""),
    ],
)
def test_scopes_and_end(case: Case, grant: Grant, says: str) -> None:
    trusted = {ID[KEY]: TrustedKey(KEY.public_key(), grant)}
    verdict = judge(
        replace(case.evidence, model="tiny"), POLICY, trusted=trusted, level="production"
    )
    [finding] = [finding for finding in verdict.findings if finding.rule == measured.RULE]
    assert says in finding.reason
    assert (finding.outcome == "pass") == (says == "")


def test_a_sibling_that_nothing_proves_is_left_out(case: Case, tmp_path: Path) -> None:
    siblings = tuple(
        replace(made(tmp_path / name, key=key, seed=seed), ref=f"models:/m/{seed}")
        for name, key, seed in (("one", KEY, 1), ("two", None, 2), ("three", GATE, 3))
    )
    evidence = replace(case.evidence, siblings=siblings)
    finding, counted = measured.check(evidence, POLICY, TRUSTED, {})
    assert finding is not None and finding.outcome == "pass"
    assert [sibling.ref for sibling in counted.siblings] == ["models:/m/1"]
    assert set(finding.evidence["left_out"]) == {"models:/m/2", "models:/m/3"}
    assert "models:/m/2 is not signed" in finding.reason


def test_answers_that_are_not_those_of_the_chain(case: Case) -> None:
    """A key that signs files with the chain of others, as a machine at fault would."""
    folder = case.folder / "candidate"
    measurement = measurements.read(case.evidence.candidate)
    wrong = keys.sign(measurement.model_copy(update={"chain": "0" * 64}), KEY)
    (folder / measurements.NAME).write_text(wrong.model_dump_json())
    assert "its answers are not those of the chain" in case.finding()[1]
    order = dict.fromkeys(measurement.order, (0, 0, 1, 2))
    wrong = keys.sign(measurement.model_copy(update={"order": order}), KEY)
    (folder / measurements.NAME).write_text(wrong.model_dump_json())
    assert "does not name each of them once" in case.finding()[1]


def test_a_sealed_evaluation(case: Case, tmp_path: Path) -> None:
    rules = replace(POLICY, sealed="required")
    seal = sealed(tmp_path / "seal.json", KEY, suite(), rules)
    shutil.rmtree(case.folder / "candidate")
    made(case.folder / "candidate", seal=seal)
    assert case.finding(sealed="required")[0] == "pass"
    assert case.finding()[0] == "pass"
    assert "no key is trusted" in case.finding({}, sealed="required")[1]


def late(folder: Path) -> None:
    """Seal after the answers, and sign both."""
    tomorrow = NOW + DAY
    rules = replace(POLICY, sealed="required")
    seal = sealed(folder / "seal.json", KEY, suite(), rules, now=tomorrow)
    named = json.loads(seal.read_text())
    from comptrust.gate.signing.seals import Seal

    digest = Seal.model_validate(named).digest_of_fields()
    signed_now = measurements.read(signed(folder, KEY)).model_copy(update={"seal": digest})
    (folder / measurements.NAME).write_text(keys.sign(signed_now, KEY).model_dump_json())


def put(folder: Path, key: Ed25519PrivateKey, **changes: object) -> None:
    rules = replace(POLICY, sealed="required", **changes)
    sealed(folder / "seal.json", key, suite(), rules)
    signed(folder, KEY)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: None, "there is no seal.json"),
        (lambda folder: put(folder, KEY), "it was not evaluated under this seal"),
        (lambda folder: put(folder, STRANGER), "is not trusted here"),
        (lambda folder: put(folder, GATE), "may not evaluate here"),
        (late, "its first answer is older than the seal"),
    ],
)
def test_what_is_no_sealed_evaluation(
    case: Case, change: Callable[[Path], object], says: str
) -> None:
    change(case.folder / "candidate")
    outcome, reason = case.finding(sealed="required")
    assert outcome == "inconclusive" and says in reason
    assert "Policy p requires a sealed evaluation" in reason


@pytest.mark.parametrize("field", ["valid_days", "name"])
def test_a_seal_of_another_policy(case: Case, tmp_path: Path, field: str) -> None:
    other = replace(POLICY, **{field: 30 if field == "valid_days" else "q"})
    seal = sealed(tmp_path / "seal.json", KEY, suite(), other)
    shutil.rmtree(case.folder / "candidate")
    made(case.folder / "candidate", seal=seal)
    assert "the seal is for another policy" in case.finding(sealed="required")[1]


def test_new_policy_fields_change_no_digest_by_default(tmp_path: Path) -> None:
    text = "name: p\nrules: [{rule: complete}]\n"
    found = []
    for more in ("", "evidence: measured\nsealed: optional\n", "evidence: imported\n"):
        (tmp_path / "p.yaml").write_text(text + more)
        found.append(policy.load(str(tmp_path / "p.yaml")).digest)
    assert found[0] == found[1] != found[2]
