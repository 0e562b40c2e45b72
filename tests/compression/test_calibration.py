"""Calibration texts: chosen by the seed, rendered in the chat format; bad files are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comptrust.compression import calibration
from comptrust.errors import UserError
from comptrust.models.loading import load


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> dict[str, Any]:
    model, tokenizer = load(tiny_model)
    return {"model": model, "tokenizer": tokenizer}


def test_builtin_texts() -> None:
    rows = calibration.builtin()
    assert len(rows) >= 128
    assert len({row["instruction"] for row in rows}) == len(rows)
    assert all(row["instruction"].strip() and row["answer"].strip() for row in rows)


def test_the_seed_chooses(loaded: dict[str, Any]) -> None:
    first, again, other = (
        calibration.choose("builtin", count=8, seed=seed, **loaded) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert len(set(first)) == 8
    assert all(
        text.startswith("<|im_start|>user\n") and "<|im_start|>assistant\n" in text
        for text in first
    )


def test_self_asks_the_model(loaded: dict[str, Any]) -> None:
    own, builtin = (
        calibration.choose(source, count=1, seed=0, **loaded)[0] for source in ("self", "builtin")
    )
    assert own != builtin
    assert own.partition("<|im_end|>")[0] == builtin.partition("<|im_end|>")[0]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", "One.\n\nTwo.\n", {"One.", "Two."}),
        ("a.jsonl", '{"text": "One."}\n\n{"text": "Two."}\n', {"One.", "Two."}),
        (
            "a.jsonl",
            '{"instruction": "Q", "answer": "A"}\n',
            {"<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"},
        ),
    ],
)
def test_texts_from_a_file(
    tmp_path: Path, loaded: dict[str, Any], name: str, text: str, expected: set[str]
) -> None:
    (tmp_path / name).write_text(text)
    assert (
        set(calibration.choose(f"file:{tmp_path / name}", count=len(expected), seed=0, **loaded))
        == expected
    )


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b"", "is empty"),
        ("a.jsonl", b"\n\n", "is empty"),
        ("a.jsonl", b'{"text": "One."}\n{"text": ', "line 2: not valid JSON"),
        ("a.jsonl", b'{"prompt": "One."}\n', "line 1: needs the fields"),
        ("a.jsonl", b'{"text": ""}\n', "line 1: needs the fields"),
        ("a.jsonl", b"[1]\n", "line 1: needs the fields"),
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.txt", b"One.", "has 1 text, but calibration_samples is 2"),
    ],
)
def test_bad_files(
    tmp_path: Path, loaded: dict[str, Any], name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        calibration.choose(f"file:{tmp_path / name}", count=2, seed=0, **loaded)


def test_tokens_are_cut(loaded: dict[str, Any]) -> None:
    ids = calibration.tokenize(["a" * 1000, "abc"], loaded["tokenizer"])
    assert [tuple(row.shape) for row in ids] == [(1, calibration.MAX_TOKENS), (1, 3)]
