"""A small exported bundle, signed, without a store: what `comptrust verify DIR` reads."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from comptrust import claims, digests
from comptrust.claims import bundles
from comptrust.gate.signing import attestations, keys
from comptrust.gate.signing.algorithms import KeyType
from comptrust.gate.signing.attestations import Attestation
from comptrust.gate.signing.measurements import Measurement
from comptrust.records import Finding, Verdict
from tests.support.records import checkpoint_of

POLICY = "a" * 64
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
HOUR = datetime.timedelta(hours=1)


def write(
    folder: Path,
    key_folder: Path,
    *,
    listed: bool = True,
    claimed: bool = True,
    kind: KeyType = "p256",
    measured: Mapping[str, Any] = {},
    unsigned: Collection[str] = (),
    **changes: Any,
) -> Path:
    """Write a bundle signed with a new key, evaluation included.

    Returns the folder to trust, with the public key.

    `changes` are fields of the attestation; without `listed` there is no list of all files, without
    `claimed` no in-toto claims. `measured` are fields of the measurement, `unsigned` files that
    the attestation does not name.
    """
    _, _, public = keys.create(key_folder / "private", kind=kind)
    key = keys.signing_key(key_folder / "private")
    assert key
    trusted = key_folder / "trusted"
    trusted.mkdir()
    public.rename(trusted / public.name)
    (folder / "model" / "sub").mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors", "sub/tokenizer.json"):
        (folder / "model" / name).write_text(f"content of {name}")
    weights = digests.of_folder(folder / "model")
    verdict = Verdict(
        policy="strict",
        policy_digest=POLICY,
        checkpoint_digest=digests.of_value(weights),
        baseline_digest="b" * 64,
        scorecard_digest="c" * 64,
        findings=(
            Finding(rule="complete", outcome="pass", reason="All there."),
            Finding(
                rule="measured",
                outcome="pass",
                reason="Signed.",
                evidence={"signed_by": {"runs:/1": keys.key_id(key.public_key())}},
            ),
        ),
    )
    verdict = verdict.model_copy(update={"findings": changes.pop("findings", verdict.findings)})
    texts = {
        "verdict.json": verdict.model_dump_json(indent=2),
        "scorecard.json": "{}",
        "suite.json": "{}",
        "model/checkpoint.json": "{}",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    logged = {name.rpartition("/")[2]: digests.of_text(text) for name, text in texts.items()}
    logged |= {"generations/mmlu.jsonl": "d" * 64}
    measurement = Measurement(
        checkpoint=verdict.checkpoint_digest,
        suite="e" * 64,
        engine={},
        files={name: digest for name, digest in logged.items() if name != "verdict.json"},
        order={},
        chain="",
        began=NOW - HOUR,
        ended=NOW - HOUR,
    )
    text = keys.sign(measurement.model_copy(update=measured), key).model_dump_json()
    (folder / "measurement.json").write_text(text)
    logged["measurement.json"] = digests.of_text(text)
    fields = {
        "verdict": verdict,
        "model": "tiny",
        "run_id": "1" * 32,
        "baseline_run_id": "2" * 32,
        "weights": weights,
        "files": {
            "candidate": {name: logged[name] for name in logged.keys() - set(unsigned)},
            "baseline": {},
        },
        "scorecards": {},
        "siblings": {},
        "artifact": {},
        "issued": NOW - HOUR,
        "expires": NOW + HOUR,
    }
    attestation = keys.sign(Attestation.model_validate(fields | changes), key)
    text = attestation.model_dump_json(indent=2)
    (folder / attestations.NAME).write_text(text)
    if claimed:
        record = checkpoint_of(folder / "model")
        files = claims.write(attestation, attestation_json=text, checkpoint=record, key=key)
        for name, content in files.items():
            (folder / name).write_text(content)
    if listed:
        (folder / "README.md").write_text("# tiny\n")
        (folder / "bom.cdx.json").write_text("{}")
        bundles.sign(folder, digests.of_folder(folder), key)
    return trusted


def flip(path: Path, share: float = 0.5) -> None:
    """Change one bit of a file, at this share of its length; again, and it is as before."""
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 1
    path.write_bytes(content)
