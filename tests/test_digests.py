"""The two forms of a value: the one of stored digests, and RFC 8785, which is signed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comptrust import digests

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
    if value == 1e-05:
        assert digests.canonical(value) == "1e-05" != digests.rfc8785(value).decode()
        return
    assert digests.canonical(value).encode() == digests.rfc8785(value)
    assert json.loads(digests.rfc8785(value)) == value


@pytest.mark.parametrize(("value", "stored", "signed"), DIFFERENT)
def test_where_the_forms_differ(value: Any, stored: str, signed: str) -> None:
    assert (digests.canonical(value), digests.rfc8785(value).decode()) == (stored, signed)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "\ud800"])
def test_what_is_not_json_has_no_form(value: Any) -> None:
    for form in (digests.of_value, digests.rfc8785):
        with pytest.raises(ValueError):
            form({"a": [value]})


@pytest.mark.parametrize("value", [2**53, -(2**53)])
def test_whole_numbers_that_others_would_round_are_not_signed(value: int) -> None:
    with pytest.raises(ValueError, match="exceeds safe integer domain"):
        digests.rfc8785(value)
