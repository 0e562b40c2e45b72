"""Envelopes: one spelling, signatures of trusted keys, nothing unsigned that could mislead."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from comptrust import digests
from comptrust.claims import envelope
from comptrust.claims.envelope import Refused
from comptrust.gate.signing import algorithms
from tests.support.handed_over import trust

KEY, P256, OTHER = (algorithms.generate(kind) for kind in ("ed25519", "p256", "ed25519"))
TRUSTED = trust(KEY, P256)
STATEMENT = {"text": "ü>?~", "number": 1.0}
SIGNED = envelope.sign(STATEMENT, KEY)


def signatures(*keys: Any) -> list[Any]:
    return [envelope.sign(STATEMENT, key)["signatures"][0] for key in keys]


def bad(key: Any) -> dict[str, str]:
    """Return a signature in the name of a key that did not make it."""
    return signatures(key)[0] | {"sig": base64.b64encode(b"0" * 64).decode()}


@pytest.mark.parametrize("key", [KEY, P256], ids=["ed25519", "p256"])
def test_a_signed_value_is_read_back(key: Any) -> None:
    value, signers = envelope.read(envelope.sign(STATEMENT, key), trusted=TRUSTED)
    assert (value, signers) == (STATEMENT, {algorithms.key_id(key.public_key())})


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (signatures(KEY, P256), ""),
        (signatures(OTHER, KEY), ""),
        ([*signatures(KEY), bad(OTHER)], ""),
        ([*signatures(KEY), bad(P256)], "changed since"),
        ([bad(KEY)], "changed since"),
        (signatures(OTHER), "is not trusted here"),
        ([], "signed by no key"),
        (signatures(KEY, KEY), "two signatures of one key"),
        ([*signatures(KEY), *({"keyid": str(n), "sig": ""} for n in range(16))], "more than 16"),
    ],
)
def test_several_signatures(made: list[Any], says: str) -> None:
    signed = SIGNED | {"signatures": made}
    if says:
        with pytest.raises(Refused, match=says):
            envelope.read(signed, trusted=TRUSTED)
    else:
        assert envelope.read(signed, trusted=TRUSTED)[0] == STATEMENT


def url_safe(text: str) -> str:
    return text.replace("+", "-").replace("/", "_")


def spare_bits(text: str) -> str:
    """Change bits that no decoder reads: the last character before the padding."""
    kept = text.rstrip("=")
    assert kept != text
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return kept[:-1] + letters[letters.index(kept[-1]) + 1] + text[len(kept) :]


@pytest.mark.parametrize(
    "spell",
    [
        spare_bits,
        lambda text: url_safe(text) + ("" if url_safe(text) != text else "-"),
        lambda text: text[:8] + "\n" + text[8:],
        lambda text: text + " ",
        lambda text: text.rstrip("="),
        lambda text: text + "==",
        lambda text: "é" + text,
        lambda _: "",
    ],
)
@pytest.mark.parametrize("field", ["payload", "sig"])
def test_base64_has_one_spelling(spell: Any, field: str) -> None:
    # A text whose base64 has a padding, as a signature's has.
    signed = envelope.sign(STATEMENT | {"more": "x"}, KEY)
    for filler in range(1, 4):
        if signed["payload"].endswith("="):
            break
        signed = envelope.sign(STATEMENT | {"more": "x" * filler}, KEY)
    if field == "payload":
        signed |= {"payload": spell(signed["payload"])}
    else:
        [signature] = signed["signatures"]
        signed |= {"signatures": [signature | {"sig": spell(signature["sig"])}]}
    with pytest.raises(Refused):
        envelope.read(signed, trusted=TRUSTED)


@pytest.mark.parametrize(
    "changed",
    [
        SIGNED | {"extra": 1},
        SIGNED | {"payloadType": "application/json"},
        SIGNED | {"payloadType": 1},
        SIGNED | {"payload": 1},
        SIGNED | {"signatures": {}},
        SIGNED | {"signatures": [SIGNED["signatures"][0] | {"cert": ""}]},
        SIGNED | {"signatures": [{"sig": SIGNED["signatures"][0]["sig"]}]},
        {name: SIGNED[name] for name in ("payload", "signatures")},
        [],
        None,
        "text",
    ],
)
def test_an_envelope_has_the_fields_of_dsse_and_no_others(changed: object) -> None:
    with pytest.raises(Refused):
        envelope.read(changed, trusted=TRUSTED)


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b' {"a":1}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"b":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":-0}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":9007199254740993}',
        b'{"a":"\\u0061"}',
        b'{"a":"\\/"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'{"a":1}{"a":1}',
        b"",
        b"[" * 100_000,
        b"[" * 900 + b"]" * 900,
    ],
)
def test_json_has_one_spelling(content: bytes) -> None:
    if content.startswith(b"[[") and content.endswith(b"]"):
        assert envelope.strict(content)
        return
    with pytest.raises(Refused, match="is not JSON as RFC 8785 writes it"):
        envelope.strict(content)


def test_what_is_signed_is_in_the_only_spelling() -> None:
    content = base64.b64decode(SIGNED["payload"])
    assert content == digests.rfc8785(STATEMENT) == '{"number":1,"text":"ü>?~"}'.encode()
