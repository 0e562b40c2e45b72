"""What someone without the signing key can do to signed evidence and to registered files."""

from __future__ import annotations

import base64
import datetime
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mlflow import MlflowClient

from comptrust import claims
from comptrust.gate import policy
from comptrust.gate.signing import algorithms, attestations, keys, measurements, roles
from comptrust.gate.signing.roles import TrustedKey
from comptrust.gate.signing.waivers import Waiver
from comptrust.records import Checkpoint, Suite
from comptrust.trust import evaluation, sample
from comptrust.trust import suite as suites
from tests.support import measuring
from tests.support.enforcement import tricks as do
from tests.support.enforcement.tricks import DAY, TODAY, Trick, a_pass, champion, promoted
from tests.support.enforcement.world import (
    BAD,
    DENSE,
    GOOD,
    KEY,
    STRANGER,
    STRANGER_P256,
    TRUSTED,
    Candidate,
    World,
    questions,
    raise_for,
    write_key,
)
from tests.support.weights import weights

GATE_ONLY = Ed25519PrivateKey.generate()
"""A key that servers trust for verdicts and for nothing else."""

# Tricks: forged, changed and replayed attestations


def forged(**changes: Any) -> Trick:
    """Change fields of the signed attestation, without the key."""

    def trick(world: World, candidate: Candidate) -> None:
        signed = json.loads((candidate.evidence / attestations.NAME).read_text())
        world.client.log_text(candidate.run_id, json.dumps(signed | changes), attestations.NAME)

    return trick


def flip_signed_verdict(world: World, candidate: Candidate) -> None:
    signed = json.loads((candidate.evidence / attestations.NAME).read_text())
    for finding in signed["verdict"]["findings"]:
        finding["outcome"] = "pass"
    world.client.log_text(candidate.run_id, json.dumps(signed), attestations.NAME)


def sign_with_own_key(world: World, candidate: Candidate) -> None:
    world.evaluate(candidate, GOOD)
    world.gate(candidate, key=STRANGER)


def sign_with_own_p256_key(world: World, candidate: Candidate) -> None:
    world.evaluate(candidate, GOOD)
    world.gate(candidate, key=STRANGER_P256)


def sign_with_own_p256_key_in_a_trusted_name(world: World, candidate: Candidate) -> None:
    world.evaluate(candidate, GOOD)
    made = world.gate(candidate, key=STRANGER_P256)
    assert made is not None
    renamed = made.model_copy(update={"key_id": keys.key_id(KEY.public_key())})
    world.client.log_text(candidate.run_id, renamed.model_dump_json(), attestations.NAME)


def earlier_form_with_another_outcome(world: World, candidate: Candidate) -> None:
    """Sign a pass in the form of 0.1.0 with an own key, in the name of the trusted one."""
    world.evaluate(candidate, GOOD)
    made = world.gate(candidate, key=STRANGER)
    assert made is not None
    renamed = made.model_copy(update={"key_id": keys.key_id(KEY.public_key())})
    raw = algorithms.sign(STRANGER, renamed.earlier_payload())
    forged = renamed.model_copy(update={"signature": base64.b64encode(raw).decode()})
    world.client.log_text(candidate.run_id, forged.model_dump_json(), attestations.NAME)


def only_the_claims_of_a_pass(world: World, candidate: Candidate) -> None:
    """Log the claims that the gate signed about a model that passed."""
    other = a_pass(world)
    text = (other.evidence / attestations.NAME).read_text()
    record = Checkpoint.model_validate_json((other.evidence / "checkpoint.json").read_text())
    signed = attestations.read(other.evidence / attestations.NAME)
    written = claims.write(signed, attestation_json=text, checkpoint=record, key=KEY)
    for name, content in written.items():
        world.client.log_text(candidate.run_id, content, name)


def sign_with_own_key_in_a_trusted_name(world: World, candidate: Candidate) -> None:
    world.evaluate(candidate, GOOD)
    made = world.gate(candidate, key=STRANGER)
    assert made is not None
    world.client.log_text(
        candidate.run_id,
        made.model_copy(update={"key_id": keys.key_id(KEY.public_key())}).model_dump_json(),
        attestations.NAME,
    )


def unsigned_pass(world: World, candidate: Candidate) -> None:
    world.evaluate(candidate, GOOD)
    world.gate(candidate, key=None)
    world.client.log_text(candidate.run_id, "{}", attestations.NAME)


def broken_attestation(world: World, candidate: Candidate) -> None:
    world.client.log_text(candidate.run_id, "[" * 100_000, attestations.NAME)


def replay_from_another_run(world: World, candidate: Candidate) -> None:
    other = a_pass(world)
    world.client.log_artifacts(candidate.run_id, str(other.evidence))


def replay_by_run_id(world: World, candidate: Candidate) -> Candidate:
    """Register the candidate's weights as a version of a run that passed."""
    other = a_pass(world)
    made = world.client.create_model_version(
        other.name,
        f"models:/{candidate.model_id}",
        run_id=other.run_id,
        model_id=candidate.model_id,
        await_creation_for=None,
    )
    return replace(
        candidate,
        name=other.name,
        version=str(made.version),
        run_id=other.run_id,
        evidence=other.evidence,
    )


def tag_of_other_bytes(world: World, candidate: Candidate) -> None:
    """Claim the pass of another version for these bytes, in the tag that people read."""
    other = a_pass(world, name=candidate.name)
    for key, value in (("evaluated_by", other.run_id), ("verdict", "pass")):
        world.client.set_model_version_tag(candidate.name, candidate.version, key, value)


def replay_earlier_pass(world: World, candidate: Candidate) -> None:
    """Bring back the attestation of an evaluation that a worse one has replaced."""
    first = (candidate.evidence / attestations.NAME).read_text()
    world.evaluate(candidate, BAD)
    world.gate(candidate)
    world.client.log_text(candidate.run_id, first, attestations.NAME)


def copied(world: World, candidate: Candidate) -> Candidate:
    """Copy the version to another registered model."""
    name = f"{candidate.name}-copy"
    copy = world.client.copy_model_version(f"models:/{candidate.name}/{candidate.version}", name)
    return replace(candidate, name=name, version=str(copy.version))


def rewritten(change: Callable[[str], str]) -> Trick:
    """Write the signed attestation of the candidate in another way, without the key."""

    def trick(world: World, candidate: Candidate) -> None:
        text = (candidate.evidence / attestations.NAME).read_text()
        assert change(text) != text
        world.client.log_text(candidate.run_id, change(text), attestations.NAME)

    return trick


def signature_as(change: Callable[[str], str]) -> Trick:
    """Write the signature of the candidate's attestation in another way."""

    def changed(text: str) -> str:
        signature = json.loads(text)["signature"]
        return text.replace(json.dumps(signature), json.dumps(change(signature)))

    return rewritten(changed)


def spare_bits(signature: str) -> str:
    """Set a bit of base64 that no byte of the signature has."""
    return signature[:-3] + chr(ord(signature[-3]) + 1) + "=="


def in_an_envelope(text: str) -> str:
    """Wrap a signed text as DSSE does, with a signature of its fields."""
    payload = base64.b64encode(text.encode()).decode()
    signatures = [{"sig": json.loads(text)["signature"]}]
    kind = "application/vnd.in-toto+json"
    return json.dumps({"payloadType": kind, "payload": payload, "signatures": signatures})


def beside_a_pass(world: World) -> Candidate:
    """Return a blocked version of the bytes and the run that it has, copied beside a champion."""
    source, current = do.blocked(world), promoted(world)
    copy = world.client.copy_model_version(f"models:/{source.name}/{source.version}", current.name)
    return replace(source, name=current.name, version=str(copy.version))


def expired(world: World, candidate: Candidate) -> None:
    world.gate(candidate, now=TODAY - 10 * DAY, days=9)


def of_the_future(world: World, candidate: Candidate) -> None:
    world.gate(candidate, now=TODAY + 10 * DAY)


def in_five_minutes(world: World, candidate: Candidate) -> None:
    world.gate(candidate, now=datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5))


def under_a_lax_policy(world: World, candidate: Candidate) -> None:
    made = world.gate(candidate, policy_name="lax")
    assert made is not None and made.verdict.outcome == "pass"


def under_a_policy_changed_after_signing(world: World, candidate: Candidate) -> None:
    """Sign under an earlier, laxer edition of the server's own policy."""
    path, now = world.folder / "production.yaml", (world.folder / "production.yaml").read_text()
    path.write_text(now.replace("points: 5", "points: 60"))
    try:
        made = world.gate(candidate)
    finally:
        path.write_text(now)
    assert made is not None and made.verdict.outcome == "pass"


def only_good_enough_for_staging(world: World) -> Candidate:
    made = world.register(GOOD, spare=32)
    world.gate(made, policy_name="staging")
    return made


# Tricks: what the gate was given to sign


def edited(name: str, old: str, new: str, *, policy_name: str = "production") -> Trick:
    """Edit a file of the run, then ask the gate, as CI would."""

    def trick(world: World, candidate: Candidate) -> None:
        path = candidate.evidence / name
        text = re.sub(old, new, path.read_text())
        assert text != path.read_text()
        path.write_text(text)
        world.upload(candidate)
        world.gate(candidate, policy_name=policy_name)

    return trick


def hardly_smaller(world: World) -> Candidate:
    return world.register(GOOD, spare=32)


def dense(world: World) -> Candidate:
    """Return a dense model whose policy says that it may be its own source."""
    made = world.register(GOOD, **DENSE)
    lax = (world.folder / "lax.yaml").read_text()
    (world.folder / "allowed.yaml").write_text(f"{lax}dense: allowed\n")
    signed = world.gate(made, policy_name="allowed")
    assert signed is not None and signed.verdict.outcome == "pass"
    return made


def signed_long_ago(world: World, candidate: Candidate) -> None:
    """Sign under a policy that lets signatures count for ten years."""
    world.gate(candidate, now=TODAY - 91 * DAY, days=3650)


def of_tomorrow(world: World, candidate: Candidate) -> None:
    world.gate(candidate, now=TODAY + DAY)


def asked_again(
    world: World, candidate: Candidate, *, n: int, seal: Path | None = None
) -> Candidate:
    """Judge a candidate, and the dense model, on the first `n` questions."""
    suite, usual = questions(n), world.source()
    if n not in world.others:
        files = world.files(usual)
        world.others[n] = world.register(GOOD, name="dense", suite=suite, files=files, **DENSE)
    world.dense = world.others[n]
    world.evaluate(candidate, GOOD, suite=suite, seal=seal)
    signed = world.gate(candidate)
    world.dense = usual
    assert signed is not None and signed.verdict.outcome == "pass"
    return candidate


def asked_less(world: World, candidate: Candidate) -> Candidate:
    """Register the bytes of a blocked version again, and let them pass on half of the questions."""
    digest = json.loads((candidate.evidence / "checkpoint.json").read_text())["digest"]
    world.client.set_tag(candidate.run_id, "checkpoint_digest", digest)
    return asked_again(world, world.register(GOOD, files=world.files(candidate)), n=4)


def asked_in_place(n: int) -> Trick:
    """Log another signed evaluation, on `n` questions, into the blocked run, and judge it there."""
    return lambda world, candidate: asked_again(world, candidate, n=n)


def asked_in_place_after_deleting(world: World, candidate: Candidate) -> Candidate:
    """Delete all that a blocked run has, then let its version pass on half of the questions."""
    place = f"mlflow-artifacts/artifacts/{world.experiment}/{candidate.run_id}/artifacts"
    raise_for(world.rest("DELETE", place))
    return asked_again(world, candidate, n=4)


def earlier_pass_put_back(world: World, candidate: Candidate) -> None:
    """Put back all files of an evaluation that passed, after a worse one."""
    kept = world.folder / f"kept-{candidate.run_id}"
    shutil.copytree(candidate.evidence, kept)
    world.evaluate(candidate, BAD)
    world.gate(candidate)
    world.client.log_artifacts(candidate.run_id, str(kept))


def forgotten(world: World, candidate: Candidate) -> Candidate:
    """Hide a block, whose run no tag names, by overwriting its signed verdict; then ask less."""
    world.client.log_text(candidate.run_id, "{}", attestations.NAME)
    return asked_again(world, world.register(GOOD, files=world.files(candidate)), n=4)


def asked_more(world: World, candidate: Candidate, *, key: Any = KEY) -> Candidate:
    """Judge it on more questions, as was sealed before."""
    rules = policy.load(str(world.folder / "production.yaml"))
    seal = measuring.sealed(world.folder / "seal.json", key, questions(12), rules)
    return asked_again(world, candidate, n=12, seal=seal)


def asked_more_without_a_seal(world: World, candidate: Candidate) -> Candidate:
    return asked_again(world, asked_less(world, candidate), n=12)


def asked_more_under_a_strangers_seal(world: World, candidate: Candidate) -> Candidate:
    return asked_more(world, asked_less(world, candidate), key=STRANGER)


def sealed_afterwards(world: World, candidate: Candidate) -> Candidate:
    """Log a good seal beside an evaluation that was made without one."""
    candidate = asked_more_without_a_seal(world, candidate)
    rules = policy.load(str(world.folder / "production.yaml"))
    measuring.sealed(candidate.evidence / "seal.json", KEY, questions(12), rules)
    world.upload(candidate, "seal.json")
    return candidate


# Tricks: evaluations that the machine that evaluates has not signed, judged where no key is trusted


def judged_by(key: Any, **settings: Any) -> Trick:
    """Let another key, or none, sign an evaluation that is good."""

    def trick(world: World, candidate: Candidate) -> None:
        world.evaluate(candidate, GOOD, measured_by=key, **settings)
        passes_without_keys(world, candidate)

    return trick


def passes_without_keys(world: World, candidate: Candidate) -> None:
    signed = world.gate(candidate, trusted={})
    assert signed is not None and signed.verdict.outcome == "pass"


def with_measurement(change: Callable[[World, Candidate, str], str]) -> Trick:
    """Overwrite the answers with good ones, beside a changed form of the signed measurement."""

    def trick(world: World, candidate: Candidate) -> None:
        path = candidate.evidence / measurements.NAME
        before = path.read_text()
        world.evaluate(candidate, GOOD, measured_by=None)
        path.write_text(change(world, candidate, before))
        world.upload(candidate)
        passes_without_keys(world, candidate)

    return trick


def for_these_files(world: World, candidate: Candidate, signed: str) -> str:
    """Name the files that are there now in a measurement of others."""
    present = evaluation.load(candidate.evidence, ref="here").files
    return json.dumps(json.loads(signed) | {"files": present})


def of_another_run(world: World, candidate: Candidate, signed: str) -> str:
    return (a_pass(world).evidence / measurements.NAME).read_text()


def imported(world: World, candidate: Candidate) -> None:
    """Sign a good evaluation as one that was made elsewhere."""
    world.evaluate(candidate, GOOD, measured_by=None)
    measuring.signed(candidate.evidence, KEY, imported=True)
    world.upload(candidate)
    passes_without_keys(world, candidate)


def by_a_key_for_verdicts(world: World, candidate: Candidate) -> None:
    """Measure and gate with a key that this server trusts for verdicts alone."""
    name = keys.key_id(GATE_ONLY.public_key())
    folder = world.folder / "keys"
    everything = f"{{roles: [{', '.join(roles.USUAL)}]}}"
    (folder / roles.NAME).write_text(
        f"'{keys.key_id(KEY.public_key())}': {everything}\n'{name}': {{roles: [gate]}}\n"
    )
    write_key(folder, GATE_ONLY)
    world.evaluate(candidate, GOOD, measured_by=GATE_ONLY)
    signed = world.gate(
        candidate, key=GATE_ONLY, trusted=TRUSTED | {name: TrustedKey(GATE_ONLY.public_key())}
    )
    assert signed is not None and signed.verdict.outcome == "pass"


def strangers_baseline(world: World, candidate: Candidate) -> None:
    """Compare with somebody's run that calls itself the dense model, and is as bad."""
    kept = world.dense
    world.dense = world.register(BAD, name="dense-of-a-stranger", measured_by=STRANGER, **DENSE)
    try:
        passes_without_keys(world, candidate)
    finally:
        world.dense = kept


# Tricks: waivers


def refusing(world: World) -> Candidate:
    """Return a candidate whose refusals moved by 25 points, so that only a waiver lets it pass."""
    return world.register(GOOD, refuses=True)


def waived(
    *,
    until: datetime.date,
    key: Any = KEY,
    checkpoint: str | None = None,
    now: datetime.datetime | None = None,
    trusted: keys.Trusted = TRUSTED,
) -> Trick:
    """Sign a waiver and let a gate that trusts these keys judge with it."""

    def trick(world: World, candidate: Candidate) -> None:
        digest = (
            checkpoint or json.loads((candidate.evidence / "checkpoint.json").read_text())["digest"]
        )
        waiver = keys.sign(
            Waiver(
                rule="refusal_shift", checkpoint=digest, who="Ada", why="read them", until=until
            ),
            key,
        )
        made = world.gate(candidate, waivers=[waiver], now=now, trusted=trusted)
        assert made is not None
        if waiver.key_id not in trusted or checkpoint:
            assert made.verdict.outcome == "inconclusive"

    return trick


# Tricks: files other than the signed ones


EVIL = weights("evil")


def swapped(name: str, content: bytes = EVIL) -> Trick:
    return lambda world, candidate: world.put(candidate, name, content)


def swapped_through_ajax(world: World, candidate: Candidate) -> None:
    world.put(candidate, "model/model.safetensors", EVIL, prefix="ajax-api")


def deleted_file(world: World, candidate: Candidate) -> None:
    base = f"mlflow-artifacts/artifacts/{world.experiment}/models/{candidate.model_id}"
    path = f"{base}/artifacts/model/config.json"
    raise_for(world.rest("DELETE", path))


def uploaded(name: str, change: Callable[[str], str]) -> Trick:
    """Change a file of the run's evidence through the UI's own upload route."""

    def trick(world: World, candidate: Candidate) -> None:
        content = change((candidate.evidence / name).read_text())
        url = f"{world.base_url}/ajax-api/2.0/mlflow/upload-artifact"
        where = {"run_uuid": candidate.run_id, "path": name}
        raise_for(
            requests.post(url, params=where, data=content.encode(), auth=world.auth, timeout=60)
        )

    return trick


def worse_baseline(world: World, candidate: Candidate) -> None:
    """Make the dense model look as bad as the candidate."""
    assert world.dense is not None
    kept = world.dense.evidence.with_name("kept")
    shutil.copytree(world.dense.evidence, kept, dirs_exist_ok=True)
    signed = (candidate.evidence / attestations.NAME).read_text()
    try:
        # Refused if a promoted version rests on it.
        world.evaluate(world.dense, BAD, **DENSE)
        world.client.log_text(candidate.run_id, signed, attestations.NAME)
        champion(world, candidate)
    finally:
        shutil.copytree(kept, world.dense.evidence, dirs_exist_ok=True)
        world.upload(world.dense)


def doubly_encoded(world: World, candidate: Candidate) -> Candidate:
    """Register files of a pass at an address that MLflow reads as the folder of a blocked model."""
    evil = world.register(BAD)
    place = f"{world.experiment}/models/%256d{evil.model_id[1:]}/artifacts"
    # An experiment from before this server: a client could not create it here.
    experiment = MlflowClient(f"sqlite:///{world.folder}/mlflow.db").create_experiment(
        f"twice-{evil.run_id}", artifact_location=f"mlflow-artifacts:/{place}"
    )
    run = world.client.create_run(experiment).info
    decoded_once = world.folder / "mlartifacts" / place.replace("%25", "%") / run.run_id
    shutil.copytree(world.files(candidate), decoded_once / "artifacts")
    decoded_fully = world.files(evil) / run.run_id / "artifacts"
    shutil.copytree(world.files(evil), decoded_fully)
    made = world.client.create_model_version(
        candidate.name,
        run.artifact_uri,
        run_id=run.run_id,
        tags={"evaluated_by": candidate.run_id},
        await_creation_for=None,
    )
    return replace(candidate, version=str(made.version))


def second_address(world: World, candidate: Candidate) -> None:
    """Let an experiment keep its artifacts among the candidate's files, past the server."""
    location = world.files(candidate).as_uri()
    world.client.create_experiment(f"second-{candidate.run_id}", artifact_location=location)


def other_experiment(world: World, candidate: Candidate) -> Candidate:
    """Register files outside the server's artifact folder."""
    elsewhere = world.folder / "elsewhere"
    experiment = world.client.create_experiment(
        f"elsewhere-{candidate.run_id}", artifact_location=elsewhere.as_uri()
    )
    run_id = world.client.create_run(experiment).info.run_id
    model = world.client.create_logged_model(experiment, name="model", source_run_id=run_id)
    shutil.copytree(world.files(candidate), elsewhere / "models" / model.model_id / "artifacts")
    made = world.client.create_model_version(
        candidate.name,
        f"models:/{model.model_id}",
        run_id=candidate.run_id,
        model_id=model.model_id,
        await_creation_for=None,
    )
    moved = replace(candidate, version=str(made.version), model_id=model.model_id)
    world.evaluate(moved, GOOD)
    world.gate(moved)
    return moved


# Tricks: other questions, and other dense models


def asked_others(suite: Suite, *, digest: str = "") -> Trick:
    """Judge on other questions, under a policy that guards no stage; `digest` is the stated one."""

    def trick(world: World, candidate: Candidate) -> None:
        kept = world.dense
        world.dense = world.register(BAD, **DENSE)
        for asked, recipe in ((world.dense, DENSE), (candidate, {})):
            # Every answer is the right one.
            world.evaluate(asked, None, suite=suite, **recipe)
            for name in ("suite.json", "scorecard.json"):
                path = asked.evidence / name
                path.write_text(path.read_text().replace(suite.digest, digest or suite.digest))
            measuring.signed(asked.evidence, KEY)
            world.upload(asked)
        made = world.gate(candidate, policy_name="shown")
        world.dense = kept
        assert made is not None and made.verdict.outcome == "pass"

    return trick


def all_b(*, copies: bool = False, **fields: str) -> Suite:
    """Return questions that B answers rightly, or copies of the first one under new ids."""
    suite = questions()
    prompts = []
    for prompt in suite.prompts:
        changes = {"messages": suite.prompts[0].messages, "extra": {"cluster": prompt.id}}
        prompts.append(prompt.model_copy(update={"target": "B", **(changes if copies else {})}))
    return Suite(**dict(suite) | {"prompts": tuple(prompts)} | fields)


def lucky_sample() -> Suite:
    """Return a sample of mini that is not the one that everybody is asked."""
    return sample.draw(suites.load("mini", dimensions=["mmlu"]), 4, seed=7)


def another_family(world: World) -> Candidate:
    """Return a version that loses nothing against its own dense model, under a promoted name."""
    return _beside_champion(world, name="family")


def weak_baseline(world: World) -> Candidate:
    """Return a version that was compared with a weaker dense model of the same name."""
    return _beside_champion(world, name="dense")


def _beside_champion(world: World, *, name: str) -> Candidate:
    current = promoted(world)
    kept = world.dense
    world.dense = world.register(BAD, name=name, **DENSE)
    made = world.register(BAD, name=current.name)
    signed = world.gate(made)
    world.dense = kept
    assert signed is not None and signed.verdict.outcome == "pass"
    return made
