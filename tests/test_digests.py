"""The two forms of a value: RFC 8785, and the one that earlier versions digested."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
import rfc8785
from hypothesis import given, strategies

from comptrust import digests
from comptrust.errors import UserError

SAME: list[Any] = [
    None,
    True,
    0,
    -1,
    2**53 - 1,
    0.5,
    -12.25,
    1e-05,
    0.1 + 0.2,
    1e22,
    "",
    'quote " backslash \\ slash /',
    "\x00\x1f\x7f\n\r\t\b\f",
    "ü € 😀 \u2028",
    [],
    {},
    {"b": [1, {"z": None, "a": "ü"}], "a": False},
    {"ü": 1, "z": 2, "": 3},
    {f"model/{number}": "0" * 64 for number in range(20)},
]
DIFFERENT = [
    (1.0, "1.0", "1"),
    (0.0, "0.0", "0"),
    (-0.0, "-0.0", "0"),
    (1e16, "1e+16", "10000000000000000"),
    (1e-06, "1e-06", "0.000001"),
    (1e-07, "1e-07", "1e-7"),
    ({"\ufb33": 1, "😀": 2}, '{"\ufb33":1,"😀":2}', '{"😀":2,"\ufb33":1}'),
]


@pytest.mark.parametrize("value", SAME, ids=lambda value: str(value)[:20])
def test_most_values_have_one_form(value: Any) -> None:
    assert digests.canonical(value).encode() == rfc8785.dumps(value)
    assert json.loads(digests.canonical(value)) == value
    assert (digests.older(value) == digests.canonical(value)) == (value != 1e-05)
    now, before = digests.forms(value)
    assert now == digests.of_value(value) and (now == before) == (value != 1e-05)


@pytest.mark.parametrize(("value", "before", "now"), DIFFERENT)
def test_where_the_forms_differ(value: Any, before: str, now: str) -> None:
    assert (digests.older(value), digests.canonical(value)) == (before, now)
    assert digests.forms(value) == (digests.of_text(now), digests.of_text(before))


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555554", "333333333.33333325"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_those_of_appendix_b(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert digests.canonical([number]) == f"[{text}]"


JSON = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers(-(2**53) + 1, 2**53 - 1)
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | strategies.sampled_from([1.0, 2.0**53, 2.0**60, 1e-5, 1e21, 1e15, 123456789012345680.0])
    | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
)


@given(JSON)
def test_the_short_way_writes_what_the_package_writes(value: Any) -> None:
    assert digests.canonical(value).encode() == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "\ud800"])
def test_what_is_not_json_has_no_form(value: Any) -> None:
    for form in (digests.of_value, digests.of_older, digests.rfc8785):
        with pytest.raises(ValueError):
            form({"a": [value]})


@pytest.mark.parametrize("value", [2**53, -(2**53)])
def test_whole_numbers_that_others_would_round_have_none(value: int) -> None:
    with pytest.raises(UserError, match="exceeds safe integer domain.*: give a smaller number"):
        digests.of_value({"a": [value]})
    with pytest.raises(ValueError, match="exceeds safe integer domain"):
        digests.rfc8785({"a": [value]})
