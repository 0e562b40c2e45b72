"""Keys: where they are kept, how they are read, and records with a signature."""

import base64
import datetime
import hmac
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from pydantic import AfterValidator

from comptrust import digests
from comptrust.errors import ServiceError, UserError
from comptrust.gate.signing import algorithms, roles
from comptrust.gate.signing.algorithms import KeyType, PublicKey
from comptrust.gate.signing.algorithms import PrivateKey as PrivateKey
from comptrust.gate.signing.algorithms import key_id as key_id
from comptrust.gate.signing.roles import Grant, Role, TrustedKey
from comptrust.records import Record

PRIVATE = "signing.pem"
PUBLIC = "*.pub.pem"
SKEW = datetime.timedelta(minutes=1)
"""How far the clock of the machine that signed may be ahead."""
Trusted = Mapping[str, TrustedKey]
"""Key id -> public key and what it may sign."""
S = TypeVar("S", bound="SignedRecord")


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


NotBlank = Annotated[str, AfterValidator(_not_blank)]


class SignedRecord(Record):
    """A record with a signature over all its other fields."""

    purpose: ClassVar[str]
    """What the signature is for.

    It is signed too, so a signature for one purpose is worthless for another.
    """
    role: ClassVar[Role]
    """What a key must be allowed to do to sign it."""

    key_id: str = ""
    """Name of the public key that verifies the signature; empty while unsigned."""
    signature: str = ""
    """Ed25519, or ECDSA over P-256 with SHA-256 (DER); base64."""

    def payload(self) -> bytes:
        """Return what is signed: the purpose, and all fields but the signature (RFC 8785).

        Raises ValueError for a number that other readers of JSON would not read exactly.
        """
        return f"comptrust/{self.purpose}\n".encode() + digests.rfc8785(self._fields())

    def earlier_payload(self) -> bytes:
        """Return what version 0.1.0 signed: purpose v1, and floats as Python writes them."""
        purpose = f"{self.purpose.partition('/')[0]}/v1"
        return f"comptrust/{purpose}\n{digests.older(self._fields())}".encode()

    def _fields(self) -> Any:
        return json.loads(self.model_dump_json(exclude={"signature"}))


def sign(record: S, key: PrivateKey) -> S:
    """Return the record signed. Raises UserError for a number that RFC 8785 cannot write."""
    named = record.model_copy(update={"key_id": key_id(key.public_key())})
    try:
        signature = algorithms.sign(key, named.payload())
    except ValueError as error:
        raise UserError(f"Nothing is signed: {error}. Gate it without that number.") from error
    return named.model_copy(update={"signature": base64.b64encode(signature).decode()})


def proven(record: SignedRecord, trusted: Trusted) -> bool:
    """Whether a key that may do so signed exactly this; if not, nothing in it can be believed."""
    try:
        raw = base64.b64decode(record.signature, validate=True)
        key = trusted[record.key_id]
    # KeyError: the key is not trusted. ValueError: not base64, or not Unicode.
    except (KeyError, ValueError):
        return False
    if not any(
        _signed(key.public, raw, payload) for payload in (record.payload, record.earlier_payload)
    ):
        return False
    # Base64 has spare bits, so one signature has several spellings. Only one is accepted.
    canonical = base64.b64encode(raw).decode() == record.signature
    return canonical and record.role in key.grant.roles


def signer_refusal(name: str, role: Role, trusted: Trusted, **scope: Any) -> str:
    """Return why what a key signed in a role does not count, to follow it; empty if it may.

    `scope` are the model, level and day for which the key must be allowed to sign.
    """
    key = trusted.get(name)
    if key is None:
        known = ", ".join(sorted(trusted)) or "none"
        return f"is signed by key {name or '(none)'}, which is not trusted here (trusted: {known})"
    refused = key.refusal(role, **scope)
    return f"is signed by key {name}, which {refused}" if refused else ""


def refusal(record: SignedRecord, trusted: Trusted, **scope: Any) -> str:
    """Return why a signed record does not count, to follow its name; empty if it does."""
    signer = record.key_id if record.signature else ""
    refused = signer_refusal(signer, record.role, trusted, **scope)
    if refused or proven(record, trusted):
        return refused
    return f"was changed since key {record.key_id} signed it"


def _signed(key: PublicKey, signature: bytes, payload: Callable[[], bytes]) -> bool:
    try:
        algorithms.verify(key, signature, payload())
    except (InvalidSignature, ValueError):  # ValueError: it cannot be written in this form
        return False
    return True


def secret(key: PrivateKey, purpose: str) -> bytes:
    """Return a secret that only the holder of a private key has."""
    encoding, plain = serialization.Encoding.DER, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    return hmac.digest(private, f"comptrust/{purpose}".encode(), "sha256")


def default_folder() -> Path:
    """Return the keys folder: COMPTRUST_KEYS, or the user's config folder."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(os.environ.get("COMPTRUST_KEYS") or config / "comptrust" / "keys")


def create(folder: Path, *, kind: KeyType = "ed25519") -> tuple[str, Path, Path]:
    """Create a key pair and return its id, the private file and the public file.

    Only its owner can read the private file. Raises UserError if there is one already, which is
    never overwritten; ServiceError if nothing can be written.
    """
    key = algorithms.generate(kind)
    name = key_id(key.public_key())
    private, public = folder / PRIVATE, folder / f"{name}.pub.pem"
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Created with its final mode: at no time can others open it.
        with open(private, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
        public.write_bytes(
            key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    except FileExistsError as error:
        raise UserError(
            f"{private} already exists and is not overwritten. Use it, or choose another folder."
        ) from error
    except OSError as error:
        raise ServiceError(
            f"Cannot write a key to {folder}: {error.strerror}. Choose another folder."
        ) from error
    return name, private, public


def signing_key(folder: Path | None = None) -> PrivateKey | None:
    """Return the private key, or None if there is none.

    It is the file that COMPTRUST_SIGNING_KEY names, or else signing.pem in the keys folder. With
    `folder`, only that folder's signing.pem counts. Raises UserError if the named file is missing,
    if others can read it, or if it is not an Ed25519 or P-256 key without a
    password.
    """
    named = None if folder else os.environ.get("COMPTRUST_SIGNING_KEY")
    path = Path(named) if named else (folder or default_folder()) / PRIVATE
    if not named and not path.exists():
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
        key = algorithms.private(serialization.load_pem_private_key(text, password=None))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None  # the reason could quote the file, so it is not shown
    if key is None:
        raise UserError(
            f"{path} is not an Ed25519 or P-256 private key without a password (PEM, PKCS8). Create"
            " one: comptrust keys init --dir DIR"
        )
    return key


def load_public_keys(folder_or_file: Path | None = None) -> Trusted:
    """Return key id -> key of one file, or of every `*.pub.pem` in a folder with their roles.

    The default is the keys folder, which may be missing. A single file may sign everything. A key
    that roles.yaml calls revoked is left out. Raises UserError if a given place is missing, if a
    file is not an Ed25519 or P-256 public key, or if anyone may write to the place.
    """
    return {name: key for name, key in granted(folder_or_file).items() if key.grant.revoked is None}


def granted(folder_or_file: Path | None) -> Trusted:
    """Return key id -> key of one file, or of a folder, revoked or not."""
    place = folder_or_file or default_folder()
    if folder_or_file is None and not place.exists():
        return {}
    if not place.exists():
        raise UserError(
            f"There are no public keys at {place}. Name a .pub.pem file or a folder of them."
        )
    files = sorted(place.glob(PUBLIC)) if place.is_dir() else [place]
    public = {key_id(key): key for key in map(public_key, files)}
    grants = roles.read(place) if place.is_dir() else None
    for path in [place, *files, *([place / roles.NAME] if grants is not None else [])]:
        if os.name == "posix" and path.stat().st_mode & stat.S_IWOTH and not _is_read_only(path):
            raise UserError(
                f"Anyone can write to {path}, so its keys prove nothing. Run: chmod o-w {path}"
            )
    if grants is None:
        return {name: TrustedKey(key) for name, key in public.items()}
    return {name: TrustedKey(key, grants.get(name, Grant())) for name, key in public.items()}


def _is_read_only(path: Path) -> bool:
    """Whether its file system is mounted so that nobody can write: Kubernetes mounts mode 0777."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def public_key(path: Path) -> PublicKey:
    """Read a public key. Raises UserError if the file is not one."""
    try:
        key = algorithms.public(serialization.load_pem_public_key(path.read_bytes()))
    except OSError as error:
        raise UserError(f"Cannot read the public key {path}: {error.strerror}.") from error
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if key is None:
        raise UserError(
            f"{path} is not an Ed25519 or P-256 public key (PEM). Export it again or remove the"
            " file."
        )
    return key
