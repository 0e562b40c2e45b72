"""A folder as `comptrust export` writes it, made in milliseconds without a registry."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from comptrust import claims, digests
from comptrust.claims.writing import exported
from comptrust.gate.signing import algorithms, keys
from comptrust.gate.signing.attestations import Attestation
from comptrust.gate.signing.roles import Grant, TrustedKey
from comptrust.records import Finding, Verdict
from tests.support.records import checkpoint_of

NOW = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
POLICY_DIGEST = "ab" * 32


def trust(*keys_: keys.PrivateKey, **grant: Any) -> keys.Trusted:
    granted = Grant.model_validate({"roles": ["gate", "waive"]} | grant)
    return {
        algorithms.key_id(key.public_key()): TrustedKey(key.public_key(), granted) for key in keys_
    }


def write(folder: Path, key: keys.PrivateKey, *outcomes: Any, **changes: Any) -> Attestation:
    """Write model, evidence and claims; every outcome is that of one rule."""
    model = folder / "model"
    (model / "sub").mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights" * 100)
    (model / "sub" / "config.json").write_text('{"a": "ü"}', encoding="utf-8")
    checkpoint = checkpoint_of(model)
    (model / "checkpoint.json").write_text(exported(checkpoint))
    (folder / "scorecard.json").write_text("{}")
    verdict = Verdict(
        policy="production",
        policy_digest=POLICY_DIGEST,
        checkpoint_digest=checkpoint.digest,
        baseline_digest=None,
        scorecard_digest="cd" * 32,
        findings=tuple(
            Finding(rule=f"rule_{number // 2}", outcome=outcome, reason="r", evidence={"drop": 1.0})
            for number, outcome in enumerate(outcomes or ("pass", "pass", "pass"))
        ),
    )
    (folder / "verdict.json").write_text(verdict.model_dump_json(indent=2))
    fields: dict[str, Any] = {
        "verdict": verdict,
        "model": "tiny",
        "run_id": "1" * 32,
        "baseline_run_id": None,
        "weights": checkpoint.manifest,
        "files": {
            "candidate": {
                name: digests.of_file(folder / name) for name in ("verdict.json", "scorecard.json")
            }
        },
        "scorecards": {},
        "siblings": {},
        "artifact": {},
        "issued": NOW,
        "expires": NOW + 90 * DAY,
    }
    attestation = keys.sign(Attestation.model_validate(fields | changes), key)
    text = attestation.model_dump_json(indent=2)
    (folder / "attestation.json").write_text(text)
    written = claims.write(attestation, attestation_json=text, checkpoint=checkpoint, key=key)
    for name, content in written.items():
        (folder / name).write_text(content)
    return attestation
