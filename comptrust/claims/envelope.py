"""DSSE envelopes: a signed statement on one line, and how strictly it is read.

Everything outside the signed payload is read in one spelling only: RFC 8785 text, standard base64,
the fields that DSSE has. Inside it, fields that are not known are ignored, as in-toto demands.
"""

import base64
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Key, SSlibKey

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.gate.signing import keys
from comptrust.gate.signing.algorithms import PublicKey
from comptrust.gate.signing.attestations import Kind
from comptrust.records import Record

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MOST_SIGNATURES = 16
B = TypeVar("B", bound=BaseModel)


class Refused(Exception):
    """Why a claim does not count."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Signature(Record):
    """One signature; every one is over the same bytes."""

    model_config = ConfigDict(strict=True)

    keyid: str
    sig: str
    """Base64."""


class EnvelopeFields(Record):
    """An envelope as it is written; no other field is accepted, since none would be signed."""

    payload: str
    """Base64."""
    payloadType: str
    signatures: list[Signature]


def sign(statement: dict[str, Any], key: keys.PrivateKey) -> dict[str, Any]:
    """Return the envelope of a statement. Raises ValueError for what RFC 8785 cannot write."""
    envelope = Envelope(digests.rfc8785(statement), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(key, _named(key.public_key())))
    fields: dict[str, Any] = envelope.to_dict()
    return fields


def read(envelope: object, *, trusted: keys.Trusted) -> tuple[Any, frozenset[str]]:
    """Return the signed JSON value of an envelope, and the trusted keys that signed it.

    At least one trusted key must have signed. Signatures of other keys do not count and do no harm;
    one that names a trusted key must be its own. Raises Refused.
    """
    fields = parse(envelope, EnvelopeFields)
    if fields.payloadType != PAYLOAD_TYPE:
        raise Refused("changed", f"its payload is {fields.payloadType[:80]!a}, not {PAYLOAD_TYPE}")
    named = [signature.keyid for signature in fields.signatures]
    if len(named) != len(set(named)) or len(named) > MOST_SIGNATURES:
        raise Refused(
            "changed", f"it has two signatures of one key, or more than {MOST_SIGNATURES}"
        )
    for text in [fields.payload, *(signature.sig for signature in fields.signatures)]:
        _check_base64(text)
    known = sorted(set(named) & trusted.keys())
    if not known:
        signers = ", ".join(ascii(name[:20]) for name in named) or "no key"
        raise Refused("unverified", f"it is signed by {signers}, which is not trusted here")
    public: list[Key] = [_named(trusted[name].public) for name in known]
    dsse = Envelope.from_dict(fields.model_dump())
    try:
        dsse.verify(public, len(public))
    except VerificationError:
        raise Refused("changed", f"it was changed since {', '.join(known)} signed it") from None
    return strict(dsse.payload), frozenset(known)


def strict(content: bytes) -> Any:
    """Parse JSON that is written as RFC 8785 demands, so that nobody can read it differently.

    Repeated keys, spaces, other spellings of a text or number, NaN and half characters are refused.
    Raises Refused.
    """
    try:
        value = config.json_value(content.decode(), where="it")
        same = digests.rfc8785(value) == content
    except (UserError, ValueError, RecursionError) as error:
        raise Refused("changed", f"it is not JSON as RFC 8785 writes it ({error})") from None
    if not same:
        raise Refused("changed", "it is not JSON as RFC 8785 writes it (other spaces or spelling)")
    return value


def parse(value: object, kind: type[B]) -> B:
    """Return a value as a record of that kind. Raises Refused."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise Refused("changed", f"its field {field[:80]!a} is wrong: {first['msg']}") from None


def _check_base64(text: str) -> None:
    """Accept standard base64 only. One text has several spellings in it: -_ for +/, spare bits."""
    try:
        same = base64.b64encode(base64.b64decode(text, validate=True)).decode() == text
    except ValueError:
        same = False
    if not same:
        raise Refused("changed", f"{text[:20]!a}... is not standard base64 in its only spelling")


def _named(key: PublicKey) -> SSlibKey:
    return SSlibKey.from_crypto(key, keyid=keys.key_id(key))
