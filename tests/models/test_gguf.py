"""GGUF files are read with their own weights and tokens, or refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from comptrust import digests
from comptrust.errors import UserError
from comptrust.models import chat, gguf, gguf_folder, loading, measure, precision, sources
from tests.support import gguf_files


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", f"{tmp_path}-cache")


def test_a_file_is_the_model_that_it_was_written_from(tiny_model: Path, tmp_path: Path) -> None:
    file = gguf_files.write(tiny_model, tmp_path / "tiny.gguf", kind="F32")
    source = sources.resolve(str(file))
    assert source.gguf == file and source.revision == digests.of_file(file)
    here, there = (load_file(path / "model.safetensors") for path in (source.path, tiny_model))
    assert here.keys() == there.keys()
    assert all(torch.equal(here[name], there[name].float()) for name in there)
    assert precision.weights(file) == "dense (GGUF, f32)"
    tokenizer, original = loading.tokenizer(source.path), loading.tokenizer(tiny_model)
    text = "It's 12.5 km away, isn't it?\n\n  Yes"
    assert tokenizer(text)["input_ids"] == original(text)["input_ids"]
    assert tokenizer.chat_template == original.chat_template
    assert chat.bos(tokenizer) == ""


@pytest.mark.parametrize("where", ["file", "folder"])
def test_its_tokens_are_those_it_names(tiny_model: Path, tmp_path: Path, where: str) -> None:
    begin, end = (loading.tokenizer(tiny_model).convert_tokens_to_ids(word) for word in ("a", "b"))
    file = gguf_files.write(
        tiny_model,
        tmp_path / "tiny.gguf",
        tokenizer__ggml__bos_token_id=begin,
        tokenizer__ggml__eos_token_id=end,
        tokenizer__ggml__eot_token_id=end + 1,
        tokenizer__ggml__add_bos_token=True,
    )
    folder = sources.resolve(str(file if where == "file" else tmp_path)).path
    for name in ("config.json", "generation_config.json"):
        assert json.loads((folder / name).read_text())["eos_token_id"] == [end, end + 1]
    model, tokenizer = loading.load(folder)
    assert model.generation_config.eos_token_id == [end, end + 1]
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == ("a", "b", None)
    assert chat.bos(tokenizer) == "a"


def test_an_answer_also_ends_where_the_template_ends_a_turn(
    tiny_model: Path, tmp_path: Path
) -> None:
    words = loading.tokenizer(tiny_model)
    end = words.eos_token
    assert end in gguf_folder.ENDS and end in words.chat_template
    other = words.convert_tokens_to_ids("a")
    template = words.chat_template.replace("a", "A")
    file = gguf_files.write(
        tiny_model,
        tmp_path / "tiny.gguf",
        tokenizer__ggml__eos_token_id=other,
        tokenizer__chat_template=template,
    )
    ends = loading.load(sources.resolve(str(file)).path)[0].generation_config.eos_token_id
    assert ends == sorted([other, words.eos_token_id])


def test_its_weights_are_measured_in_the_file(tiny_model: Path, tmp_path: Path) -> None:
    file = gguf_files.write(tiny_model, tmp_path / "tiny.gguf", kind="Q4_0")
    assert gguf.kind(file) == "q4_0"
    files = measure.measure(tmp_path)
    assert files.bytes == file.stat().st_size and files.stated_bits == 4
    assert files.effective_bits == 4.5  # 32 codes of 4 bits and a scale of 16 bits
    assert precision.weights(tmp_path) == "quantized (GGUF, q4_0)"
    assert precision.weights(sources.resolve(str(file)).path).endswith("dequantized from Q4_0)")
    mislabeled = gguf_files.write(
        tiny_model, tmp_path / "other.gguf", kind="Q8_0", general__file_type=2
    )
    assert gguf.kind(mislabeled) == "q8_0"
    with pytest.raises(UserError, match="holds 2 GGUF files. Give one of them"):
        sources.resolve(str(tmp_path))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"general__architecture": "quokka"}, "quokka is not supported"),
        ({"tokenizer__ggml__pre": "quokka"}, "splits text as 'quokka'"),
        ({"llama__rope__scaling__type": "yarn"}, "says llama.rope.scaling.type = yarn"),
        ({"tokenizer__ggml__eos_token_id": 999}, "names token 999, but has 259"),
        (
            {"tokenizer__ggml__eos_token_id": None, "tokenizer__chat_template": None},
            "does not say which token ends a text",
        ),
        ({"split__count": 3}, "one of 3 parts"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(
    tiny_model: Path, tmp_path: Path, keys: dict[str, Any], message: str
) -> None:
    file = gguf_files.write(tiny_model, tmp_path / "tiny.gguf", **keys)
    with pytest.raises(UserError, match=message):
        sources.resolve(str(file))


def test_a_damaged_file_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    file = gguf_files.write(tiny_model, tmp_path / "tiny.gguf")
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UserError, match="is not a whole GGUF file|ends before its weights do"):
        sources.resolve(str(file))
