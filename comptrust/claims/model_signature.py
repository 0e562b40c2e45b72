"""A model signature as OpenSSF's model_signing 1.1 reads and writes it.

It is a Sigstore bundle around an envelope: `model_signing verify key`.
"""

import hashlib
from pathlib import PurePosixPath
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from comptrust import digests
from comptrust.claims import envelope
from comptrust.claims.envelope import Refused
from comptrust.claims.statements import STATEMENT
from comptrust.gate.signing import keys
from comptrust.gate.signing.algorithms import PublicKey

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE = "https://model_signing/signature/v1.0"


def sign(files: dict[str, str], *, model: str, key: keys.PrivateKey) -> bytes:
    """Return the signature of a folder (path -> SHA-256); the key must be P-256."""
    return digests.rfc8785(_bundle(envelope.sign(_statement(files, model), key), key.public_key()))


def check(content: bytes, files: dict[str, str], *, trusted: keys.Trusted) -> frozenset[str]:
    """Return the trusted keys that signed exactly these files. Raises Refused without any."""
    bundle = envelope.strict(content)
    signed = bundle.get("dsseEnvelope") if isinstance(bundle, dict) else None
    statement, signers = envelope.read(signed, trusted=trusted)
    # Of the bundle nothing but the envelope is signed, so it must be the one that we would write.
    if not any(bundle == _bundle(signed, trusted[signer].public) for signer in signers):
        raise Refused("changed", "it is not a bundle as the gate writes it")
    try:
        model = statement["subject"][0]["name"]
    except (LookupError, TypeError):
        model = ""
    if statement != _statement(files, model):
        raise Refused("changed", "it signs other files than those of the folder model")
    return signers


def _statement(files: dict[str, str], model: str) -> dict[str, Any]:
    ordered = sorted(files.items(), key=lambda item: PurePosixPath(item[0]))
    # The subject is the digest of all files' digests, one after the other, in this order.
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in ordered))
    return {
        "_type": STATEMENT,
        "subject": [{"name": model, "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest} for name, digest in ordered
            ],
        },
    }


def _bundle(signed: object, key: PublicKey) -> dict[str, Any]:
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(pem).hexdigest()},
            "tlogEntries": [],
        },
        "dsseEnvelope": signed,
    }
