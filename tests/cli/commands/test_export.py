"""`comptrust export` writes the judged files, their verdict and a model card, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from comptrust import claims
from comptrust.cli.commands.export import command
from comptrust.compression import checkpoint
from comptrust.errors import UserError
from comptrust.gate import policy as policies
from comptrust.gate.evidence import Evidence
from comptrust.gate.signing import keys
from comptrust.gate.verdict import judge
from comptrust.models import measure
from comptrust.records import Verdict
from comptrust.tracking import evaluations, registry, runs
from comptrust.trust import suite as suites
from comptrust.trust.run import evaluate
from comptrust.workflow.handover import full_reference
from comptrust.workflow.signatures import Signer
from tests.support.echo import Echo
from tests.support.records import checkpoint_of


@pytest.fixture
def version(store: Path, tiny: Path) -> registry.Version:
    """A registered, evaluated and judged version with the alias champion."""
    record = checkpoint_of(tiny)
    suite = suites.load("mini", dimensions=["mmlu", "ethics"], limit=4)
    measured = evaluate(Echo(), suite, out=store / "evaluation", checkpoint_digest=record.digest)
    with runs.start("one", tags=registry.recipe_tags(record.recipe)) as run:
        run.checkpoint(record)
        run.evaluation(store / "evaluation", measured.scorecard)
        verdict = judge(Evidence(candidate=measured, baseline=None), policies.load("literal"))
        run.verdict(verdict)
        made = registry.register(run, record, measured.scorecard, folder=tiny)
    runs.client().set_registered_model_alias(made.name, "champion", made.version)
    return made


@pytest.mark.parametrize("ref", ["models:/tiny/champion", "tiny@champion", "models:/tiny/1"])
def test_what_is_written(version: registry.Version, tiny: Path, store: Path, ref: str) -> None:
    out = store / "exported"
    done = CliRunner().invoke(command, [ref, str(out), "--json"], catch_exceptions=False)
    assert done.exit_code == 3 and json.loads(done.stdout)["written"] is False
    assert not out.exists(), "the verdict is inconclusive"
    arguments = [ref, str(out), "--json", "--force"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 3 and json.loads(done.stdout)["written"] is True
    record = checkpoint.load(out / "model")
    assert json.loads(done.stdout)["digest"] == record.digest == checkpoint_of(tiny).digest
    assert checkpoint.verify(out / "model") == []
    assert {path.name for path in out.iterdir()} == {
        "model",
        "verdict.json",
        "scorecard.json",
        "suite.json",
        "README.md",
        "bom.cdx.json",
        "evidence-map.md",
    }
    verdict = Verdict.model_validate_json((out / "verdict.json").read_text())
    card = (out / "README.md").read_text()
    for words in (
        version.ref,
        record.digest,
        f"policy `{verdict.policy}`",
        "not signed",
        "4.50",
        "vllm serve",
        "## Recipe",
    ):
        assert words in card
    [ethics] = [line for line in card.splitlines() if line.startswith("| ethics")]
    assert " to " in ethics and "not measured" in ethics, (
        "an interval of the score; no drop, since there is no dense baseline"
    )
    for finding in verdict.findings:
        assert finding.reason.replace("|", "/") in card
    [logged] = [path for path in store.rglob("checkpoint.json") if not path.is_relative_to(out)]
    assert (out / "model" / "checkpoint.json").read_bytes() == logged.read_bytes(), "as signed"
    assert [path.name for path in store.iterdir() if path.name.startswith(".exported")] == []


def test_changed_bytes_are_not_handed_over(version: registry.Version, store: Path) -> None:
    held = registry.download(version.ref, into=store / "look")
    [stored] = [
        path for path in store.rglob("config.json") if not path.is_relative_to(store / "look")
    ]
    assert stored.read_bytes() == (held / "config.json").read_bytes()
    stored.write_text(stored.read_text() + " ")
    with pytest.raises(UserError, match=r"changed: config.json.*Nothing was written"):
        CliRunner().invoke(command, [version.ref, str(store / "exported")], catch_exceptions=False)
    assert not (store / "exported").exists()


def test_another_verdict_is_not_handed_over(version: registry.Version, store: Path) -> None:
    with runs.service():
        found = evaluations.load(version.ref)
        other = judge(
            Evidence(candidate=found, baseline=None), policies.load("literal")
        ).model_copy(update={"checkpoint_digest": "0" * 64})
        runs.client().log_text(version.run_id, other.model_dump_json(), "verdict.json")
    with pytest.raises(UserError, match="about other files or scores"):
        CliRunner().invoke(command, [version.ref, str(store / "exported")], catch_exceptions=False)


@pytest.mark.parametrize("ref", ["tiny", "models:/tiny", "models:/a/b/c", "runs:/x/y/z"])
def test_a_reference_that_names_no_version(ref: str) -> None:
    with pytest.raises(UserError, match="is not models:/NAME/VERSION"):
        full_reference(ref)


def test_a_folder_that_holds_something_is_kept(version: registry.Version, store: Path) -> None:
    (store / "mine").mkdir()
    (store / "mine" / "file").write_text("")
    with pytest.raises(UserError, match="exists already"):
        CliRunner().invoke(command, [version.ref, str(store / "mine")], catch_exceptions=False)


def test_the_claims_of_a_p256_key_are_handed_over(
    version: registry.Version, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With model.sig; the verdict, which does not pass, is the only thing that is wrong."""
    monkeypatch.setattr(measure, "check", lambda *_: None)  # the record is made up
    keys.create(store / "keys", kind="p256")
    signer = Signer(keys.signing_key(store / "keys"), keys.load_public_keys(store / "keys"))
    verdict = Verdict.model_validate(runs.read_json(version.run_id, "verdict.json"))
    status = signer.sign(verdict, Evidence(evaluations.load(version.ref), None), days=1)
    assert status.attestation, status.line
    out = store / "exported"
    CliRunner().invoke(command, [version.ref, str(out), "--force"], catch_exceptions=False)
    assert {path.name for path in out.iterdir()} >= {claims.CLAIMS, claims.MODEL_SIGNATURE}
    problems = claims.check(out, trusted=signer.trusted, policy_digest=verdict.policy_digest)
    assert verdict.outcome != "pass" and {one.kind for one in problems} == {verdict.outcome}
    (out / "model" / "config.json").write_text("{}")
    changed = [one for one in claims.check(out, trusted=signer.trusted) if one.kind == "changed"]
    assert {one.file for one in changed} >= {"model/config.json", claims.MODEL_SIGNATURE}
