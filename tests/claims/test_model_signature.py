"""model.sig: what model_signing would write, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comptrust import digests
from comptrust.claims import envelope, model_signature
from comptrust.claims.envelope import Refused
from comptrust.gate.signing import algorithms
from tests.support.handed_over import trust

KEY, OTHER = (algorithms.generate("p256") for _ in range(2))
FILES = {"b.bin": "2" * 64, "a/c.bin": "1" * 64, "a.bin": "3" * 64}
SIGNED = model_signature.sign(FILES, model="tiny", key=KEY)


def changed(**fields: Any) -> bytes:
    return digests.rfc8785(json.loads(SIGNED) | fields)


def test_a_signed_folder_is_good() -> None:
    model_signature.check(SIGNED, FILES, trusted=trust(KEY, OTHER))


def test_files_are_in_the_order_of_their_parts() -> None:
    signed = json.loads(SIGNED)["dsseEnvelope"]
    statement, _ = envelope.read(signed, trusted=trust(KEY))
    resources = statement["predicate"]["resources"]
    assert [item["name"] for item in resources] == ["a/c.bin", "a.bin", "b.bin"]


@pytest.mark.parametrize(
    ("content", "files", "says"),
    [
        (SIGNED, FILES | {"b.bin": "4" * 64}, "signs other files"),
        (SIGNED, FILES | {"new": "4" * 64}, "signs other files"),
        (SIGNED, {"b.bin": "2" * 64}, "signs other files"),
        (SIGNED + b"\n", FILES, "RFC 8785"),
        (changed(mediaType="application/json"), FILES, "is not a bundle"),
        (changed(verificationMaterial={}), FILES, "is not a bundle"),
        (changed(extra=1), FILES, "is not a bundle"),
        (changed(dsseEnvelope=None), FILES, "field 'content'"),
        (b"[]", FILES, "field 'content'"),
        (model_signature.sign(FILES, model="tiny", key=OTHER), FILES, "not trusted here"),
        (
            digests.rfc8785(
                model_signature._bundle(envelope.sign({"a": 1}, KEY), KEY.public_key())
            ),
            FILES,
            "signs other files",
        ),
    ],
)
def test_anything_else_is_refused(content: bytes, files: dict[str, str], says: str) -> None:
    with pytest.raises(Refused, match=says):
        model_signature.check(content, files, trusted=trust(KEY))
