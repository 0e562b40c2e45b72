"""The kinds of key that sign: Ed25519, and P-256 for tools that read no other."""

import hashlib
from typing import Literal

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KeyType = Literal["ed25519", "p256"]
PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PublicKey = Ed25519PublicKey | ec.EllipticCurvePublicKey
P256 = ec.SECP256R1()
SHA256 = ec.ECDSA(hashes.SHA256())


def generate(kind: KeyType) -> PrivateKey:
    """Return a new private key."""
    return Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(P256)


def sign(key: PrivateKey, data: bytes) -> bytes:
    """Return the signature over `data`; for P-256 it is ECDSA with SHA-256, in DER."""
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(data)
    return key.sign(data, SHA256)


def verify(key: PublicKey, signature: bytes, data: bytes) -> None:
    """Raise InvalidSignature unless the key signed exactly `data`."""
    if isinstance(key, Ed25519PublicKey):
        key.verify(signature, data)
    else:
        key.verify(signature, data, SHA256)


def key_id(key: PublicKey) -> str:
    """Return the name of a public key: the first 16 hex digits of a SHA-256.

    It is that of the 32 raw bytes for Ed25519, of the DER form (SubjectPublicKeyInfo) for P-256.
    """
    if isinstance(key, Ed25519PublicKey):
        content = key.public_bytes_raw()
    else:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        content = key.public_bytes(serialization.Encoding.DER, form)
    return hashlib.sha256(content).hexdigest()[:16]


def private(key: object) -> PrivateKey | None:
    """Return a key that was read if it is of a kind that signs here, else None."""
    return key if isinstance(key, PrivateKey) and _is_usable(key) else None


def public(key: object) -> PublicKey | None:
    """Return a key that was read if it is of a kind that is trusted here, else None."""
    return key if isinstance(key, PublicKey) and _is_usable(key) else None


def _is_usable(key: PrivateKey | PublicKey) -> bool:
    return isinstance(getattr(key, "curve", P256), ec.SECP256R1)
