"""Calibration texts: chosen by the seed, rendered in the chat format; bad files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comptrust.compression import calibration, oneshot
from comptrust.compression.recipe import build
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


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two configs; one has a split `validation`, blank rows and no usual field."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [{"page": "", "size": 0}, {"page": "One.", "size": 4}, {"page": "Two.", "size": 4}]
    for name, lines in (("a", rows), ("b", [{"text": " \n"}, {"text": "Three."}])):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    configs = [
        {"config_name": "raw", "data_files": [{"split": "validation", "path": "a.jsonl"}]},
        {"config_name": "plain", "data_files": "b.jsonl"},
    ]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    return folder


def test_a_data_set_is_read_by_config_split_and_field(
    corpus: Path, loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = calibration.choose(f"hf:{corpus}:raw:validation:page", count=2, seed=0, **loaded)
    assert set(texts) == {"One.", "Two."}, "blank rows are skipped"
    assert calibration.choose(f"hf:{corpus}:plain", count=1, seed=0, **loaded) == ["Three."]
    with monkeypatch.context() as patch:
        patch.setattr(calibration, "MAX_ROWS", 1)
        patch.setattr(calibration.chat, "bos", lambda tokenizer: "<|im_start|>")
        rows = calibration.rows(f"hf:{corpus}:raw:validation:page", count=1)
        assert rows == [{"text": "One."}], "no more are read"
        [text] = calibration.choose(f"hf:{corpus}:plain", count=1, seed=0, **loaded)
        assert text == "<|im_start|>Three."
    recipe = build(model=loaded["model"].name_or_path, method="wanda", structure="2:4")
    recipe = recipe.model_copy(
        update={"calibration": f"hf:{corpus}:raw:validation:page", "calibration_samples": 2}
    )
    record = oneshot.compress(recipe, out=corpus.parent / "out")
    assert record.calibration_tokens == 8, "a byte is a token"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", r"needs a config, hf:.*:CONFIG: raw, plain"),
        (":rwa", "Unknown config of data set .* 'rwa'. Did you mean 'raw'"),
        (":raw", "Unknown split of data set .* 'train'. .*Known: validation"),
        (":raw:validation:pge", "Unknown field of data set .* 'pge'. Did you mean 'page'"),
        (":raw:validation:size", "row 0: the field size is no text"),
        (":raw:validation", r"\(fields page, size\), row 0: needs the fields"),
        (":plain:train:text:more", "has more parts than"),
    ],
)
def test_a_wrong_part_of_a_data_set_names_what_there_is(
    corpus: Path, spec: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        calibration.rows(f"hf:{corpus}{spec}", count=1)
