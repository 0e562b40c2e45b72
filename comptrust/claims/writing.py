"""Write the claims about a signed verdict: `claims.jsonl`, and `model.sig` with a P-256 key."""

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec

from comptrust import digests
from comptrust.claims import envelope, model_signature, statements
from comptrust.gate.signing import keys
from comptrust.gate.signing.attestations import NAME, Attestation
from comptrust.records import Checkpoint

CLAIMS = "claims.jsonl"
MODEL_SIGNATURE = "model.sig"
CHECKPOINT = "checkpoint.json"


def write(
    attestation: Attestation, *, attestation_json: str, checkpoint: Checkpoint, key: keys.PrivateKey
) -> dict[str, str]:
    """Return file name -> content of the claims about a signed verdict.

    `attestation_json` is the text of its file. The claims are about the folder `model` that
    `comptrust export` writes: the checkpoint's files and its record.
    """
    logged = attestation.files["candidate"]
    record = logged.get(CHECKPOINT) or digests.of_text(exported(checkpoint))
    files = attestation.weights | {CHECKPOINT: record}
    evidence = {name: logged[name] for name in statements.EVIDENCE if name in logged}
    evidence[NAME] = hashlib.sha256(attestation_json.encode()).hexdigest()
    claims = (
        statements.test_result(attestation, files),
        statements.summary(attestation, files, evidence=evidence),
    )
    lines = [digests.rfc8785(envelope.sign(claim, key)).decode() for claim in claims]
    written = {CLAIMS: "".join(f"{line}\n" for line in lines)}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signature = model_signature.sign(files, model=attestation.model, key=key)
        written[MODEL_SIGNATURE] = signature.decode()
    return written


def exported(checkpoint: Checkpoint) -> str:
    """Return the text of checkpoint.json beside exported weights: as a run logs it."""
    return checkpoint.model_dump_json(indent=2)
