"""Registering a model that was compressed elsewhere.

The stated recipe is checked against the files, and sizes are measured.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from comptrust.cli.commands.evaluate import command as evaluate
from comptrust.cli.commands.gate import command as gate
from comptrust.cli.commands.register import command
from comptrust.compression import checkpoint, existing, oneshot
from comptrust.compression.recipe import build
from comptrust.errors import ServiceError, UserError
from comptrust.records import Checkpoint, Scorecard
from comptrust.tracking import evaluations, registry, runs
from comptrust.trust.evaluation import Evaluation
from tests.support.records import scorecard_of


@pytest.fixture(scope="session")
def quantized(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Checkpoint]:
    """Return a GPTQ 4-bit model folder without our record, and that record."""
    folder = tmp_path_factory.mktemp("quantized") / "published"
    record = oneshot.compress(
        build(model=str(tiny_model), method="gptq", bits=4, group_size=32, calibration_samples=4),
        out=folder,
    )
    (folder / checkpoint.NAME).unlink()
    return folder, record


@pytest.fixture(scope="session")
def pruned(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pruned") / "published"
    oneshot.compress(build(model=str(tiny_model), method="magnitude", structure="2:4"), out=folder)
    return folder


def adopt(folder: Path, base: Path, out: Path, **stated: Any) -> Checkpoint:
    return existing.adopt(build(model=str(base), **stated), folder, out=out)


def test_what_is_measured_is_what_our_own_compression_measured(
    quantized: tuple[Path, Checkpoint], tiny_model: Path, tmp_path: Path
) -> None:
    folder, ours = quantized
    adopted = adopt(folder, tiny_model, tmp_path / "out", method="gptq", bits=4)
    same = ("digest", "manifest", "bytes", "dense_bytes", "effective_bits", "sparsity")
    assert {name: getattr(adopted, name) for name in same} == {
        name: getattr(ours, name) for name in same
    }
    assert adopted.recipe.group_size == 32 and adopted.recipe.revision == ours.recipe.revision
    assert adopted.reload_check.max_logit_difference is None and adopted.reload_check.n_tokens > 0
    assert (
        checkpoint.load(tmp_path / "out") == adopted and checkpoint.verify(tmp_path / "out") == []
    )
    assert not (folder / checkpoint.NAME).exists(), "the given folder was changed"


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_the_formats_of_published_checkpoints(
    tiny_model: Path, tmp_path: Path, method: str
) -> None:
    recipe = build(
        model=str(tiny_model),
        method=method,
        bits=4,
        group_size=32,
        calibration_samples=2,
        format=method,
    )
    ours = oneshot.compress(recipe, out=tmp_path / "published")
    (tmp_path / "published" / checkpoint.NAME).unlink()
    adopted = adopt(tmp_path / "published", tiny_model, tmp_path / "out", method=method, bits=4)
    same = ("digest", "bytes", "effective_bits", "sparsity")
    assert {name: getattr(adopted, name) for name in same} == {
        name: getattr(ours, name) for name in same
    }
    assert (adopted.recipe.format, adopted.recipe.group_size, adopted.recipe.slug) == (
        method,
        32,
        ours.recipe.slug,
    )
    with pytest.raises(UserError, match=f"in the {method.upper()} format"):
        adopt(
            tmp_path / "published",
            tiny_model,
            tmp_path / "other",
            method={"gptq": "awq", "awq": "gptq"}[method],
            bits=4,
        )


def test_a_pruned_folder(pruned: Path, tiny_model: Path, tmp_path: Path) -> None:
    adopted = adopt(pruned, tiny_model, tmp_path / "out", method="wanda", structure="2:4")
    assert (
        adopted.structure_verified == "2:4"
        and adopted.sparsity == pytest.approx(0.5, abs=0.01)
        and adopted.effective_bits == 16
    )


@pytest.mark.parametrize(
    ("kind", "stated", "message"),
    [
        ("quantized", {"method": "gptq", "bits": 8}, "You stated bits 8, but .* says 4"),
        (
            "quantized",
            {"method": "gptq", "bits": 4, "group_size": 64},
            "You stated group_size 64, but .* says 32",
        ),
        ("quantized", {"method": "magnitude"}, "are quantized .compressed-tensors."),
        ("quantized", {"method": "none"}, "are quantized"),
        ("pruned", {"method": "gptq", "bits": 4}, "has no quantization_config"),
        (
            "pruned",
            {"method": "wanda", "structure": "1:2"},
            "layer model.layers.0.self_attn.q_proj does not have that pattern",
        ),
        (
            "pruned",
            {"method": "sparsegpt", "sparsity": 0.6},
            "You stated sparsity 0.6, but (49|50)",
        ),
    ],
)
def test_a_stated_recipe_that_the_files_contradict_is_refused(
    quantized: tuple[Path, Checkpoint],
    pruned: Path,
    tiny_model: Path,
    tmp_path: Path,
    kind: str,
    stated: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(UserError, match=message):
        adopt(
            quantized[0] if kind == "quantized" else pruned, tiny_model, tmp_path / "out", **stated
        )
    assert not (tmp_path / "out").exists()


def edited(folder: Path, into: Path, **fields: Any) -> Path:
    """Copy a model folder and change fields of its config.json."""
    shutil.copytree(folder, into)
    settings = json.loads((into / "config.json").read_text()) | fields
    (into / "config.json").write_text(json.dumps(settings))
    return into


@pytest.mark.parametrize(
    ("fields", "stated", "message"),
    [
        ({"hidden_size": 128}, {"bits": 4}, "hidden_size is 128 in .* but 64 in"),
        (
            {"quantization_config": {"quant_method": "awq", "bits": 4}},
            {"bits": 4},
            "You stated method gptq, .* in the AWQ format",
        ),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 3}},
            {"bits": 4},
            "You stated bits 4, but .* says 3",
        ),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            {"bits": 4},
            "states 4 bits, but its files hold 16.0 bits",
        ),
        (
            {
                "quantization_config": {
                    "quant_method": "gptq",
                    "bits": 4,
                    "checkpoint_format": "marlin",
                }
            },
            {"bits": 4},
            "layout marlin",
        ),
    ],
)
def test_other_formats_and_other_models(
    pruned: Path,
    tiny_model: Path,
    tmp_path: Path,
    fields: dict[str, Any],
    stated: dict[str, Any],
    message: str,
) -> None:
    folder = edited(pruned, tmp_path / "published", **fields)
    with pytest.raises(UserError, match=message):
        adopt(folder, tiny_model, tmp_path / "out", method="gptq", **stated)


def test_another_model_is_not_the_dense_one(pruned: Path, tiny_model: Path, tmp_path: Path) -> None:
    weak = edited(tiny_model, tmp_path / "weak", rope_theta=1.0)
    for folder in (weak, pruned):
        with pytest.raises(UserError, match=r"You stated method none, but the weights or config"):
            adopt(folder, tiny_model, tmp_path / "out", method="none")
    copy = edited(tiny_model, tmp_path / "copy", transformers_version="5.0")
    assert adopt(copy, tiny_model, tmp_path / "out", method="none").recipe.slug == "dense"


def test_a_model_that_computes_no_numbers_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(tiny_model, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ServiceError, match="logits are not finite"):
        adopt(folder, folder, tmp_path / "out", method="none")


@pytest.mark.parametrize("form", ["compressed-tensors", "gptq"])
def test_it_can_be_evaluated_and_gated_and_evaluated_again(
    tiny_model: Path, store: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", str(store / "cache"))
    recipe = build(
        model=str(tiny_model),
        method="gptq",
        bits=4,
        group_size=32,
        calibration_samples=2,
        format=form,
    )
    oneshot.compress(recipe, out=store / "published")
    (store / "published" / checkpoint.NAME).unlink()
    options = ["--dimensions", "mmlu,ethics", "--limit", "2", "--json"]
    line = [
        str(store / "published"),
        "--base",
        str(tiny_model),
        "--method",
        "gptq",
        "--bits",
        "4",
        "--evaluate",
        *options,
    ]
    done = json.loads(CliRunner().invoke(command, line, catch_exceptions=False).stdout)
    version = registry.resolve(done["version"])
    assert version.tags["recipe"] == (recipe.slug if form == "gptq" else "gptq-4bit-g32-s0")
    measured = evaluations.load(version.ref)
    assert [score.n_scored == score.n_prompts > 0 for score in measured.scorecard.scores] == [
        True,
        True,
    ]
    judged = CliRunner().invoke(gate, [version.ref, "--policy", "staging", "--json"])
    assert json.loads(judged.stdout)["outcome"] == done["outcome"] and judged.exit_code in (1, 3)
    again = CliRunner().invoke(
        evaluate, [version.ref, "--out", str(store / "again"), *options], catch_exceptions=False
    )
    cards = [Scorecard.model_validate_json(again.stdout), measured.scorecard]
    assert (
        cards[0].scores == cards[1].scores
        and cards[0].checkpoint_digest == cards[1].checkpoint_digest
    )


def test_without_an_evaluation_it_is_not_a_sibling(
    quantized: tuple[Path, Checkpoint],
    tiny_model: Path,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", str(store / "cache"))
    line = [
        str(quantized[0]),
        "--base",
        str(tiny_model),
        "--method",
        "gptq",
        "--bits",
        "4",
        "--json",
    ]
    done = CliRunner().invoke(command, line, catch_exceptions=False)
    version = registry.resolve(json.loads(done.stdout)["version"])
    assert version.tags["recipe"].startswith("gptq-4bit")
    assert registry.checkpoint_digest(version) == quantized[1].digest
    measured = runs.client().get_run(version.run_id).data.metrics
    assert measured["size/bytes"] == quantized[1].bytes and measured["memory/peak_ram"] > 0
    other = quantized[1].model_copy(update={"digest": "another"})
    candidate = Evaluation(version.ref, scorecard_of(other), checkpoint=other)
    assert evaluations.siblings(candidate) == ()
    with pytest.raises(UserError, match="never evaluated"):
        evaluations.load(version.ref)
