"""Emergencies and former champions of a guarded registry, for its tests."""

from __future__ import annotations

import base64
import datetime
import json
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from comptrust.gate.enforcement import audit as audits
from comptrust.gate.enforcement import audit_files
from comptrust.gate.signing import algorithms, attestations, emergency, keys, roles
from comptrust.gate.signing.emergency import Emergency
from tests.support.enforcement import tricks
from tests.support.enforcement.tricks import TODAY, Trick
from tests.support.enforcement.world import BAD, GOOD, KEY, Candidate, World, write_key

RELEASE, OLD = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
RELEASE_P256 = algorithms.generate("p256")
WAIVE_ELSEWHERE = Ed25519PrivateKey.generate()
"""A key that may waive for other models alone, on this server."""
EVERYWHERE = {
    keys.key_id(WAIVE_ELSEWHERE.public_key()): roles.TrustedKey(WAIVE_ELSEWHERE.public_key())
}
"""The same key as a gate knows it that has no roles.yaml."""
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
DAY = datetime.timedelta(days=1)
SECONDS = 6
"""Until the signature of a former champion expires."""


def backdate(world: World, *, days: float) -> None:
    """Let the records of the log be of some days ago; the chain still holds."""
    path = world.folder / "mlflow.db.audit.jsonl"
    records, previous = [], audits.GENESIS_HASH
    for record in audits.read(path).lines:
        time = record.time - datetime.timedelta(days=days)
        record = record.model_copy(update={"time": time, "previous": previous})
        record = record.model_copy(update={"hash": record.true_hash()})
        records.append(record)
        previous = record.hash
    path.write_text("".join(json.dumps(item.model_dump(mode="json")) + "\n" for item in records))
    audit_files.write_head(path, audit_files.Head(number=len(records), hash=previous))


def name_roles(folder: Path) -> None:
    """Give the release key its role, and the others theirs, in a folder of trusted keys."""
    text = ""
    for key, allowed in (
        (KEY, "[evaluate, gate, waive]"),
        (OLD, "[gate]"),
        (RELEASE, "[release]"),
        (RELEASE_P256, "[release]"),
        (WAIVE_ELSEWHERE, "[waive], models: [other-*]"),
    ):
        write_key(folder, key)
        text += f'"{keys.key_id(key.public_key())}": {{roles: {allowed}}}\n'
    (folder / roles.NAME).write_text(text)


def sign(
    world: World,
    candidate: Candidate,
    *,
    key: keys.PrivateKey = RELEASE,
    until: datetime.datetime | None = None,
    **changes: Any,
) -> Emergency:
    """Sign an emergency for a candidate and log it on its run, as the command does."""
    now = datetime.datetime.now(datetime.UTC)
    until = until or now + DAY
    fields: dict[str, Any] = {
        "model": candidate.name,
        "version": candidate.version,
        "target": "production",
        "artifact": attestations.held_by(world.files(candidate)),
        "why": "The present champion answers nothing.",
        "issued": min(now, until - DAY),
        "until": until,
    }
    record = keys.sign(Emergency(**fields | changes), key)
    log(world, candidate, record)
    return record


def log(world: World, candidate: Candidate, record: Emergency) -> None:
    """Log an emergency on a candidate's run."""
    world.client.log_text(candidate.run_id, record.model_dump_json(), emergency.NAME)


def old_pass(world: World, *, days: float = 91, name: str | None = None) -> Candidate:
    """Return a candidate whose passing verdict was signed some days ago."""
    candidate = world.register(GOOD, name=name)
    world.gate(candidate, now=datetime.datetime.now(datetime.UTC) - days * DAY)
    return candidate


# Tricks: an emergency that was signed for something else, or that is over


def emergency_of(**changes: Any) -> Trick:
    def trick(world: World, candidate: Candidate) -> None:
        sign(world, candidate, **changes)

    return trick


def emergency_changed(world: World, candidate: Candidate) -> None:
    record = sign(world, candidate, until=TODAY - DAY)
    log(world, candidate, record.model_copy(update={"until": TODAY + DAY}))


def emergency_for_other_bytes(world: World, candidate: Candidate) -> None:
    sign(world, candidate)
    world.put(candidate, "model/generation_config.json", b"{}")


def emergency_of_another_version(world: World, candidate: Candidate) -> Candidate:
    record = sign(world, candidate)
    other = world.register(BAD, name=candidate.name, files=world.files(candidate))
    log(world, other, record)
    return other


def emergency_of_another_model(world: World, candidate: Candidate) -> Candidate:
    record = sign(world, candidate)
    other = world.register(BAD, files=world.files(candidate))
    log(world, other, record)
    return other


def emergency_taken_back(world: World, candidate: Candidate) -> None:
    sign(world, candidate)
    tricks.champion(world, candidate)
    taken_back(world, candidate)


def emergency_in_another_form(world: World, candidate: Candidate) -> None:
    """Log a used emergency with the other signature that P-256 has for the same content."""
    record = sign(world, candidate, key=RELEASE_P256)
    tricks.champion(world, candidate)
    taken_back(world, candidate)
    first, second = decode_dss_signature(base64.b64decode(record.signature))
    other = base64.b64encode(encode_dss_signature(first, P256_ORDER - second)).decode()
    log(world, candidate, record.model_copy(update={"signature": other}))


def taken_back(world: World, candidate: Candidate) -> None:
    """Archive a champion and delete its alias, as an operator does for a cause."""
    tricks.stage("Archived")(world, candidate)
    world.client.delete_registered_model_alias(candidate.name, "champion")


# Tricks: rolling back to what was never granted, or was taken back


def formerly(change: Trick, *, alias: str = "champion") -> Trick:
    """Make the candidate a former champion whose signature expires; then do something to it."""

    def trick(world: World, candidate: Candidate) -> Candidate | None:
        start = datetime.datetime.now(datetime.UTC)
        ends = datetime.timedelta(seconds=SECONDS)
        world.gate(candidate, key=OLD, days=1, now=start - DAY + ends)
        tricks.alias(alias)(world, candidate)
        changed = None
        if change is taken_back:
            taken_back(world, candidate)
        else:
            successor = tricks.a_pass(world, name=candidate.name)
            tricks.alias(alias)(world, successor)
            changed = change(world, candidate)
        passed = datetime.datetime.now(datetime.UTC) - start
        time.sleep(max(0.0, (ends - passed).total_seconds()) + 1)
        return changed

    return trick


def key_removed(world: World, candidate: Candidate) -> None:
    (world.folder / "keys" / f"{keys.key_id(OLD.public_key())}.pub.pem").unlink()


def key_restored(world: World, candidate: Candidate) -> Candidate:
    write_key(world.folder / "keys", OLD)
    world.pass_truly(candidate)
    return candidate


def claimed_by_tag(world: World, candidate: Candidate) -> Candidate:
    """Claim the evidence of the former champion for a worse version."""
    other = world.register(BAD, name=candidate.name)
    world.client.set_model_version_tag(other.name, other.version, "evaluated_by", candidate.run_id)
    return other


def other_bytes(world: World, candidate: Candidate) -> None:
    world.put(candidate, "model/generation_config.json", b"{}")
