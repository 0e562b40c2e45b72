"""Targets: the matrices of the language model, whatever a family calls or stores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from comptrust.compression import engine, fitting, oneshot, targets
from comptrust.compression.recipe import build
from comptrust.errors import UserError
from comptrust.models import kinds
from comptrust.records import Checkpoint
from tests.support import families

engine.import_quietly()
from comptrust.compression import smoothing  # noqa: E402

IDS = torch.arange(40)[None] * 7 % 250
METHODS: dict[str, dict[str, Any]] = {
    "magnitude": {"structure": "2:4"},
    "wanda": {"structure": "2:4", "calibration_samples": 2},
    "sparsegpt": {"structure": "2:4", "calibration_samples": 2},
    "gptq": {"bits": 4, "group_size": 32, "calibration_samples": 2},
    "awq": {"bits": 8, "group_size": 32, "calibration_samples": 2},
    "mxfp4": {},
    "nvfp4": {"calibration_samples": 2},
}
ATTENTION = 98_304
MLP = 196_608


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root, built = tmp_path_factory.mktemp("families"), {}

    def folder(name: str) -> Path:
        if name not in built:
            built[name] = families.build(name, root / name)
        return built[name]

    return folder


def load(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def compressed(folder: Path, method: str, out: Path, **fields: Any) -> Checkpoint:
    recipe = build(model=str(folder), method=method, **METHODS[method], **fields)
    return oneshot.compress(recipe, out=out)


@pytest.mark.parametrize(
    ("name", "counts", "dense"),
    [
        ("gpt2", {"attention": 131_072, "mlp": 262_144}, ["lm_head"]),
        ("mixtral", {"attention": ATTENTION, "experts": 786_432}, ["lm_head"]),
        ("gpt_oss", {"attention": ATTENTION, "experts": 786_432}, ["lm_head"]),
        ("nemotron_h", {"state space": 239_616, "attention": 49_152, "experts": 131_072}, []),
        ("gemma3", {"attention": ATTENTION, "mlp": MLP}, ["vision_tower", "lm_head"]),
        ("mllama", {"attention": ATTENTION, "mlp": MLP}, ["cross_attn", "layers.1.mlp"]),
        ("phimoe", {"attention": ATTENTION, "experts": 786_432}, ["mlp.router", "lm_head"]),
        ("llama4_text", {"attention": ATTENTION, "mlp": MLP, "experts": 393_216}, ["router"]),
    ],
)
def test_layers_are_found_and_share_the_memory(
    folders: Any, name: str, counts: dict[str, int], dense: list[str]
) -> None:
    model = load(folders(name))
    with torch.no_grad():
        before = model(IDS).logits
        sizes = {key: value.numel() for key, value in targets.matrices(model).items()}
        replaced = targets.take_apart(model)
        layers = targets.target_layers(model)
        assert sum(sizes.values()) == sum(layer.weight.numel() for layer in layers.values())
        found: dict[str, int] = {}
        for key, layer in layers.items():
            found[kinds.kind(key)] = found.get(kinds.kind(key), 0) + layer.weight.numel()
        assert found == counts
        left = targets.dense_layers(model)
        assert all(any(part in name for name in left) for part in dense)
        assert torch.allclose(model(IDS).logits, before, atol=1e-4)
        for layer in layers.values():
            layer.weight.mul_(0.5)
        halved = model(IDS).logits
        targets.put_back(model, replaced)
        assert torch.allclose(model(IDS).logits, halved, atol=1e-4)
        assert not torch.allclose(halved, before, atol=0.1)


@pytest.mark.parametrize(
    ("name", "method", "message"),
    [
        ("gpt2", "gptq", "are Conv1D, .* Prune it instead"),
        ("gpt_oss", "gptq", "only as one dense tensor per block"),
        ("dbrx", "magnitude", r"The experts of .*ffn.experts.mlp \(DbrxExpertGLU\)"),
        ("hrm_text", "gptq", "computes its layers more than once per token"),
        ("minicpm3", "nvfp4", r"cannot calibrate .* layer model.layers.0.self_attn.kv_b_proj"),
        ("qwen3_moe", "awq", "cannot read the experts .* Use method gptq"),
        ("falcon", "gptq", "cannot load FalconForCausalLM in format .* Use format gptq"),
    ],
)
def test_what_cannot_be_compressed_is_refused_before_work(
    folders: Any, tmp_path: Path, name: str, method: str, message: str
) -> None:
    recipe = build(model=str(folders(name)), method=method, **METHODS[method])
    with pytest.raises(UserError, match=message):
        fitting.check(recipe, folders(name))
    with pytest.raises(UserError, match=message):
        oneshot.compress(recipe, out=tmp_path / "out", say=lambda line: pytest.fail(line))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "method", "bits", "left"),
    [
        ("gpt2", "wanda", 16.0, {"embeddings", "head"}),
        ("mixtral", "magnitude", 16.0, {"router", "embeddings", "head"}),
        ("deepseek_v2", "sparsegpt", 16.0, {"router", "embeddings", "head"}),
        ("qwen3_moe", "gptq", 4.51, {"router", "embeddings", "head"}),
        ("mixtral", "mxfp4", 4.25, {"router", "embeddings", "head"}),
        ("gemma3", "gptq", 4.51, {"embeddings", "head"}),
        ("gemma4_text", "wanda", 16.0, {"embeddings", "head"}),
        ("gemma4_text", "nvfp4", 4.5, {"embeddings", "head"}),
        ("phi3_longrope", "awq", 8.75, {"embeddings", "head"}),
        ("bloom", "awq", 8.75, {"embeddings", "head"}),
    ],
)
def test_all_linear_weights_are_compressed(
    folders: Any, tmp_path: Path, name: str, method: str, bits: float, left: set[str]
) -> None:
    record = compressed(folders(name), method, tmp_path / "out")
    assert record.effective_bits == pytest.approx(bits, abs=0.02)
    dense = {part.kind for part in record.parts if not part.compressed}
    assert dense - {"norms and biases", "state parameters"} == left
    assert all(part.compressed == part.weights for part in record.parts if part.linear)
    assert not record.fell_back and "left dense: " in record.coverage
    if record.recipe.bits is None:
        assert record.structure_verified == "2:4" and record.sparsity == pytest.approx(0.5)


def test_a_layer_without_a_usable_hessian_is_named(
    folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmcompressor.modifiers.pruning.sparsegpt import sgpt_sparsify

    def fails(*args: Any, **settings: Any) -> Any:
        raise torch._C._LinAlgError("not positive definite")

    monkeypatch.setattr(sgpt_sparsify.torch.linalg, "cholesky", fails)
    record = compressed(folders("llama"), "sparsegpt", tmp_path / "out")
    assert record.fell_back["model.layers.0.self_attn.q_proj"] == 128 * 128
    assert sum(record.fell_back.values()) == ATTENTION + MLP
    assert record.coverage.endswith("by a simpler method: 78.1%")


@pytest.mark.parametrize(
    ("name", "smooth"),
    [
        ("llama", {"input_layernorm", "post_attention_layernorm", "up_proj"}),
        ("bloom", {"input_layernorm", "post_attention_layernorm"}),
        ("gemma4_text", {"input_layernorm", "pre_feedforward_layernorm", "up_proj"}),
        ("nemotron", {"input_layernorm", "post_attention_layernorm"}),
        ("olmo2", {"up_proj"}),
        ("qwen3_5_text", {"input_layernorm", "post_attention_layernorm", "up_proj"}),
        ("mixtral", {"input_layernorm", "post_attention_layernorm", "up_proj"}),
        ("opt", {"self_attn_layer_norm", "v_proj", "final_layer_norm", "fc1"}),
    ],
)
def test_awq_scales_only_where_nothing_changes(folders: Any, name: str, smooth: set[str]) -> None:
    model = load(folders(name))
    targets.take_apart(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pairs = smoothing.pairs(model, IDS)
    assert {pair.smooth.rpartition(".")[2] for pair in pairs} == smooth
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
