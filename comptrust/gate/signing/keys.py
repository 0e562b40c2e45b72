"""Ed25519 keys: where they lie, how they are read, and records that carry a signature."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from comptrust import digests
from comptrust.errors import ServiceError, UserError
from comptrust.records import Record

PRIVATE = "signing.pem"
PUBLIC = "*.pub.pem"
S = TypeVar("S", bound="Signed")


class Signed(Record):
    """A record with a signature over all its other fields."""

    purpose: ClassVar[str]
    """What the signature is for; it is signed too, so that no signature of one purpose serves
    another.
    """

    key_id: str = ""
    """Name of the public key that proves the signature; empty while unsigned."""
    signature: str = ""
    """Ed25519, base64."""

    def payload(self) -> bytes:
        """Return what is signed: the purpose and the canonical JSON of all fields but the
        signature.
        """
        fields = json.loads(self.model_dump_json(exclude={"signature"}))
        return f"comptrust/{self.purpose}\n{digests.canonical(fields)}".encode()


def sign(record: S, key: Ed25519PrivateKey) -> S:
    """Return the record signed."""
    named = record.model_copy(update={"key_id": key_id(key.public_key())})
    return named.model_copy(
        update={"signature": base64.b64encode(key.sign(named.payload())).decode()}
    )


def proves(record: Signed, key: Ed25519PublicKey) -> bool:
    """Whether this key signed exactly this record."""
    try:
        raw = base64.b64decode(record.signature, validate=True)
        key.verify(raw, record.payload())
    except (InvalidSignature, ValueError):  # ValueError: no base64, or text that is no Unicode
        return False
    return (
        base64.b64encode(raw).decode() == record.signature
    )  # base64 has spare bits: one signature has one spelling


def key_id(key: Ed25519PublicKey) -> str:
    """Return the name of a public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def default_folder() -> Path:
    """Return the keys folder: COMPTRUST_KEYS, or the user's config folder."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(os.environ.get("COMPTRUST_KEYS") or config / "comptrust" / "keys")


def create(folder: Path) -> tuple[str, Path, Path]:
    """Make a key pair and return its id, the private file (only its owner can read it) and the
    public file.

    Raises UserError if there is a private key already: it is never overwritten. Raises ServiceError
    if nothing can be written.
    """
    private = folder / PRIVATE
    key = Ed25519PrivateKey.generate()
    named = key_id(key.public_key())
    public = folder / f"{named}.pub.pem"
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
        public.write_bytes(
            key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    except FileExistsError as error:
        raise UserError(
            f"{private} exists and is not overwritten. Use it, or choose another folder with --dir."
        ) from error
    except OSError as error:
        raise ServiceError(
            f"Cannot write a key to {folder}: {error.strerror}. Choose another folder with --dir."
        ) from error
    return named, private, public


def signing_key(folder: Path | None = None) -> Ed25519PrivateKey | None:
    """Return the private key: the file that COMPTRUST_SIGNING_KEY names, else signing.pem of the
    keys folder, else None.

    With a folder, its signing.pem alone is looked for.

    Raises UserError if the named file is missing, if others can read it, or if it is no Ed25519 key
    without password.
    """
    given = None if folder else os.environ.get("COMPTRUST_SIGNING_KEY")
    path = Path(given) if given else (folder or default_folder()) / PRIVATE
    if not given and not path.exists():
        return None
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read()
    except OSError as error:
        raise UserError(
            f"Cannot read the signing key {path}: {error.strerror}. Correct COMPTRUST_SIGNING_KEY"
            " or COMPTRUST_KEYS."
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise UserError(
            f"The signing key {path} is open to others (mode {mode:04o}). Run: chmod 600 {path}"
        )
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None  # the reason could quote the file, which must not appear anywhere
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(
            f"{path} holds no Ed25519 private key without password (PEM, PKCS8). Make one:"
            " comptrust keys init --dir DIR"
        )
    return key


def load_public_keys(folder_or_file: Path | None = None) -> Mapping[str, Ed25519PublicKey]:
    """Return key id -> key of one file, or of every `*.pub.pem` in a folder (default: the keys
    folder, which may be missing).

    Raises UserError if a named place is missing, if a file holds no Ed25519 public key, or if
    everybody may write the place.
    """
    place = folder_or_file or default_folder()
    if folder_or_file is None and not place.exists():
        return {}
    if not place.exists():
        raise UserError(
            f"There are no public keys at {place}. Give a .pub.pem file or a folder of them."
        )
    files = sorted(place.glob(PUBLIC)) if place.is_dir() else [place]
    found = [_public(path) for path in files]
    for path in [place, *files]:
        if os.name == "posix" and path.stat().st_mode & stat.S_IWOTH:
            raise UserError(
                f"{path} can be written by everybody, so its keys prove nothing. Run: chmod o-w"
                f" {path}"
            )
    return {key_id(key): key for key in found}


def _public(path: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise UserError(f"Cannot read the public key {path}: {error.strerror}.") from error
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UserError(
            f"{path} holds no Ed25519 public key (PEM). Export it again or remove the file."
        )
    return key
