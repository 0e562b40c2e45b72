"""Methods with a layout of their own, on a Llama whose widths are multiples of 128."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from comptrust import digests
from comptrust.compression import calibration, engine, existing, fitting, oneshot, targets
from comptrust.compression.recipe import build, stated
from comptrust.errors import ServiceError, UserError
from comptrust.models import loading, measure
from tests.support import families

WEIGHTS, CHANNELS, BLOCKS, LAYERS = 294_912, 2 * 1024, 2 * 10, 2 * 7
PER_CHANNEL = 8 + 16 * CHANNELS / WEIGHTS
CASES = [
    ("fp8", "dynamic", "none", "fp8-dynamic-8bit-s0", PER_CHANNEL),
    ("fp8", "block", "none", "fp8-block-8bit-s0", 8 + 16 * BLOCKS / WEIGHTS),
    ("w8a8", "", "none", "w8a8-8bit-s0", PER_CHANNEL),
    ("nvfp4", "w4a4", "fp8", "nvfp4-w4a4-kv-fp8-4bit-g16-s0", 4.5 + 2 * 32 * LAYERS / WEIGHTS),
    ("nvfp4", "w4a16", "none", "nvfp4-w4a16-4bit-g16-s0", 4.5 + 32 * LAYERS / WEIGHTS),
    ("mxfp4", "w4a4", "none", "mxfp4-w4a4-4bit-g32-s0", 4.25),
    ("mxfp4", "w4a16", "none", "mxfp4-w4a16-4bit-g32-s0", 4.25),
    ("fp8", "static", "fp8", "fp8-static-kv-fp8-8bit-s0", 8 + 2 * 16 * LAYERS / WEIGHTS),
]
"""Method, scheme, cache, name, and bits of a weight with its share of the scales."""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families.build("llama", tmp_path_factory.mktemp("wide") / "llama")


@pytest.mark.parametrize(
    ("method", "scheme", "cache", "slug", "bits"), CASES, ids=[case[3] for case in CASES]
)
def test_the_files_are_what_the_recipe_says(
    llama: Path, tmp_path: Path, method: str, scheme: str, cache: str, slug: str, bits: float
) -> None:
    options = {"scheme": scheme} if scheme else {}
    recipe = build(
        model=str(llama),
        method=method,
        calibration_samples=2,
        options=options | {"kv_cache": cache},
    )
    record = oneshot.compress(recipe, out=tmp_path / "out")
    assert record.recipe.slug == slug
    assert record.effective_bits == pytest.approx(bits, abs=1e-6)
    assert record.reload_check.max_logit_difference == 0
    measure.check(record, tmp_path / "out")
    # Whoever gets the folder alone finds the same in it, also if asked for the method by name.
    for name in ("auto", method):
        fields = dict.fromkeys(("bits", "sparsity", "structure"))
        theirs = stated(model=str(llama), method=name, group_size="auto", seed=0, **fields)
        adopted = existing.adopt(
            theirs.model_copy(update={"options": {}}), tmp_path / "out", out=tmp_path / name
        )
        assert adopted.recipe.slug == slug
        assert adopted.effective_bits == record.effective_bits
    layer = loading.load(tmp_path / "out")[0].get_submodule("model.layers.1.mlp.up_proj")
    inputs = torch.randn(4, 128, generator=torch.Generator().manual_seed(0))
    plain = torch.nn.functional.linear(inputs, layer.weight)
    assert torch.equal(layer(inputs), plain) == (scheme == "w4a16"), "activations"


def test_two_of_four_weights_of_8_bits_are_named_so(llama: Path, tmp_path: Path) -> None:
    recipe = build(model=str(llama), method="fp8", structure="2:4", calibration_samples=2)
    record = oneshot.compress(recipe, out=tmp_path / "out")
    assert record.recipe.slug == "fp8-dynamic-8bit-2of4-s0"
    assert record.structure_verified == "2:4" and 0.5 <= record.sparsity < 0.52
    assert record.effective_bits == pytest.approx(PER_CHANNEL, abs=1e-6)
    assert record.reload_check.max_logit_difference == 0
    fields = dict.fromkeys(("bits", "sparsity", "structure"))
    theirs = stated(model=str(llama), method="auto", group_size="auto", seed=0, **fields)
    adopted = existing.adopt(theirs, tmp_path / "out", out=tmp_path / "adopted")
    assert adopted.recipe.slug == record.recipe.slug
    assert adopted.structure_verified == "2:4" and adopted.sparsity == record.sparsity
    with pytest.raises(UserError, match="Option structure of fp8: Input should be '2:4'"):
        build(model=str(llama), method="fp8", structure="1:2")
    with pytest.raises(UserError, match="structure 2:4 cannot be used with method w8a8"):
        build(model=str(llama), method="w8a8", structure="2:4")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bloom", {"kv_cache": "fp8"}, "cannot round the cache of BloomForCausalLM"),
        ("xglm", {"kv_cache": "fp8"}, "cannot round the cache of XGLMForCausalLM"),
        ("mllama", {"kv_cache": "fp8"}, "layers.1.cross_attn .* since text never reaches it"),
        ("qwen3_moe", {}, "cannot compute the experts of Qwen3Moe.* as FP8_DYNAMIC says"),
        ("gemma4_text", {"scheme": "block"}, "FP8_BLOCK cannot divide the 16 inputs of layer"),
    ],
)
def test_what_would_be_another_model_is_refused_before_work(
    tmp_path: Path, name: str, options: dict[str, str], message: str
) -> None:
    folder = families.build(name, tmp_path / name)
    with pytest.raises(UserError, match=message):
        fitting.check(build(model=str(folder), method="fp8", options=options), folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bloom", "cannot put texts of BloomForCausalLM together"),
        ("nemotron_h", "would leave layer model.layers.0.mixer.in_proj dense: .* 552 outputs"),
    ],
)
def test_what_autoround_would_leave_out_is_refused_before_work(
    tmp_path: Path, name: str, message: str
) -> None:
    folder = families.build(name, tmp_path / name)
    with pytest.raises(UserError, match=message):
        fitting.check(build(model=str(folder), method="autoround", bits=4), folder)


@pytest.mark.parametrize("family", ["llama", "olmo", "exaone4"])
def test_activations_have_the_scales_of_the_calibration_texts(tmp_path: Path, family: str) -> None:
    """Of OLMo and EXAONE 4, tracing computes layers before any text is read."""
    source = families.build(family, tmp_path / "model")
    options = {"scheme": "static", "kv_cache": "none"}
    recipe = build(model=str(source), method="fp8", calibration_samples=2, options=options)
    record = oneshot.compress(recipe, out=tmp_path / "out")
    model, tokenizer = loading.load(source)
    texts = calibration.choose(
        "builtin", count=2, seed=0, model=model, tokenizer=tokenizer, template=None
    )
    assert digests.of_value(texts) == record.recipe.calibration_digest
    largest = dict.fromkeys(targets.target_layers(model), 0.0)

    def watch(name: str, layer: Any) -> None:
        def seen(_: Any, inputs: Any) -> None:
            largest[name] = max(largest[name], float(inputs[0].abs().max()))

        layer.register_forward_pre_hook(seen)

    for name, layer in targets.target_layers(model).items():
        watch(name, layer)
    with torch.no_grad():
        for ids in calibration.tokenize(texts, tokenizer):
            model(ids)
    saved = load_file(tmp_path / "out" / "model.safetensors")
    scales = {name: float(saved[f"{name}.input_scale"]) for name in largest}
    # The texts pass through layers that are rounded already.
    assert {name: 448 * scale for name, scale in scales.items()} == pytest.approx(largest, rel=0.1)


def test_a_layer_whose_inputs_got_no_scale_stops_the_checkpoint(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.import_quietly()
    from llmcompressor.pipelines.sequential.helpers import Subgraph

    listed = Subgraph.submodules

    def none_of_the_last_block(graph: Any, model: Any, recurse: bool = True) -> Any:
        last = set(model.model.layers[1].modules())
        return [module for module in listed(graph, model, recurse) if module not in last]

    monkeypatch.setattr(Subgraph, "submodules", none_of_the_last_block)
    monkeypatch.setattr(engine, "_untraced_layers", lambda model: nullcontext({}))
    recipe = build(model=str(llama), method="nvfp4", calibration_samples=2)
    with pytest.raises(ServiceError, match=r"no input_global_scale for model.layers.1.self_attn.q"):
        oneshot.compress(recipe, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
