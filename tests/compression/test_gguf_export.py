"""A dense model becomes a GGUF file that holds its rounded weights, its tokens and its template."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from transformers import LlamaConfig, LlamaForCausalLM

from comptrust.cli.app import comptrust
from comptrust.compression import checkpoint, gguf_export
from comptrust.errors import ServiceError, UserError
from comptrust.models import gguf, loading, measure, sources
from tests.support import families


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", f"{tmp_path}-cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a random Llama whose matrices have rows of 64 and 256 numbers.

    It has a head of its own, and its tokenizer joins letters: llama.cpp needs merges.
    """
    folder = tmp_path_factory.mktemp("gguf") / "model"
    tokenizer = families.tokenizer()
    torch.manual_seed(0)
    settings = LlamaConfig(
        vocab_size=len(tokenizer) + 2,
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(settings).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"
    fields = json.loads(path.read_text())
    fields["model"]["vocab"] |= {"is": len(tokenizer), "th": len(tokenizer) + 1}
    fields["model"]["merges"] = [["i", "s"], ["t", "h"]]
    path.write_text(json.dumps(fields))
    return folder


def test_a_file_holds_exactly_the_rounded_weights(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = f"compress --model {model} --method gguf --format gguf:q8_0 --out {out} --json"
    result = CliRunner().invoke(comptrust, command.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    record = checkpoint.load(out)
    assert json.loads(result.stdout)["digest"] == record.digest
    assert record.effective_bits == 8.5 and record.recipe.bits == 8
    assert {part.kind: part.bits for part in record.parts}["embeddings"] == 8.5
    assert checkpoint.verify(out) == []
    measure.check(record, out)
    read = loading.load(out)[0].state_dict()
    kind = GGMLQuantizationType.Q8_0
    for name, weight in loading.load(model)[0].state_dict().items():
        values = weight.numpy()
        expected = dequantize(quantize(values, kind), kind) if values.ndim > 1 else values
        assert np.array_equal(read[name].numpy(), expected), name


def test_each_tensor_has_the_type_that_llama_cpp_gives_it(model: Path, tmp_path: Path) -> None:
    """The types are those of llama.cpp's own quantizer for the same shapes."""
    file = tmp_path / "file.gguf"
    gguf_export.write(model, file, "q4_k_m")
    assert gguf.kind(file) == "q4_k_m"
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.read(file).tensors}
    layer = {name.removeprefix("blk.1."): kind for name, kind in kinds.items() if "blk.1." in name}
    assert layer.pop("ffn_down.weight") == "Q6_K"  # 256 numbers in a row, the other rows have 64
    assert layer.pop("attn_v.weight") == kinds["output.weight"] == "Q8_0"
    assert layer.pop("attn_norm.weight") == layer.pop("ffn_norm.weight") == "F32"
    assert {*layer.values(), kinds["token_embd.weight"]} == {"Q5_0"}
    rows = loading.load(model)[0].model.layers[1].mlp.down_proj.weight
    read = loading.load(file)[0].model.layers[1].mlp.down_proj.weight
    assert 0 < float((rows - read).norm() / rows.norm()) < 0.02


def test_answers_end_where_those_of_the_dense_model_do(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "model"
    shutil.copytree(model, other)
    path = other / "generation_config.json"
    tokenizer = loading.tokenizer(other)
    ends = [tokenizer.convert_tokens_to_ids("a"), tokenizer.eos_token_id]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": ends}))
    file = tmp_path / "file.gguf"
    gguf_export.write(other, file, "q4_0")
    plain = sources.resolve(str(file)).path
    gguf_export.check_tokens(other, plain)
    assert loading.load(plain)[0].generation_config.eos_token_id == sorted(ends)
    with pytest.raises(UserError, match="The last tokens of .* cannot be written"):
        gguf_export.check_tokens(model, plain)
    path.write_text(json.dumps({"eos_token_id": [1, 2, 3, 4]}))
    with pytest.raises(UserError, match="has 4 tokens that end an answer"):
        gguf_export.write(other, file, "q4_0")


def test_weights_in_another_order_are_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = gguf_export.write

    def unpermuted(folder: Path, file: Path, name: str) -> None:
        from conversion.llama import LlamaModel

        monkeypatch.setattr(LlamaModel, "undo_permute", False)
        write(folder, file, name)

    monkeypatch.setattr(gguf_export, "write", unpermuted)
    command = f"compress --model {model} --method gguf --format gguf:q8_0 --out"
    result = CliRunner().invoke(comptrust, [*command.split(), str(tmp_path / "out")])
    assert isinstance(result.exception, ServiceError | SystemExit)
    assert "is not that of the dense model" in result.output + str(result.exception)
    assert not (tmp_path / "out").exists()


def no_class(settings: dict[str, Any]) -> None:
    settings["architectures"] = ["QuokkaForCausalLM"]


def unread(settings: dict[str, Any]) -> None:
    settings["architectures"] = ["BertModel"]


def as_it_is(settings: dict[str, Any]) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "form", "message"),
    [
        (no_class, "gguf:q8_0", "does not know QuokkaForCausalLM"),
        (unread, "gguf:q8_0", "does not read GGUF files of BertModel"),
        (as_it_is, "gguf:q8_0", "needs a tokenizer with merges"),
        (as_it_is, "gguf:q9_z", "Unknown format .gguf:q9_z"),
    ],
)
def test_what_cannot_be_written_is_refused_before_work(
    tiny_model: Path,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], None],
    form: str,
    message: str,
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    settings = json.loads((model / "config.json").read_text())
    change(settings)
    (model / "config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=message):
        gguf_export.check(form, model)
