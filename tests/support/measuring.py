"""Hand-made evaluations that are really signed, as the machine that evaluates would do it."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptrust.gate import policy
from comptrust.gate.signing import keys, measurements, seals
from comptrust.records import Suite
from comptrust.trust import evaluation
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.ledger import Ledger


def signed(folder: Path, key: Ed25519PrivateKey | None, *, imported: bool = False) -> Evaluation:
    """Sign the files that an evaluation folder has now, whatever they are."""
    answers = evaluation.load(folder, ref="here").generations
    return measurements.sign(folder, key, None if imported else Ledger.of_rows(answers))


def sealed(
    path: Path,
    key: Ed25519PrivateKey,
    suite: Suite,
    rules: policy.Policy,
    *,
    now: datetime.datetime | None = None,
) -> Path:
    """Write a seal for a suite and a policy."""
    seal = seals.Seal(
        policy=rules.name,
        policy_digest=rules.digest,
        suite=suite.name,
        suite_digest=suite.digest,
        limit=suite.limit,
        sample=suite.sample,
        time=now or datetime.datetime.now(datetime.UTC),
    )
    path.write_text(keys.sign(seal, key).model_dump_json(indent=2))
    return path
