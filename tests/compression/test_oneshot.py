"""Every method on a tiny model: the record matches the disk, and a failure leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comptrust import digests, whereabouts
from comptrust.compression import checkpoint, engine, oneshot, reload
from comptrust.compression.methods.autoround import Autoround
from comptrust.compression.methods.rtn import Rtn
from comptrust.compression.recipe import build
from comptrust.errors import ServiceError, UserError
from comptrust.models.loading import load
from tests.support import families


def compress(model: Path, out: Path, **options: Any) -> oneshot.Checkpoint:
    if options["method"] in {"wanda", "sparsegpt", "gptq", "awq", "autoround"}:
        options = {"calibration_samples": 4, **options}
    return oneshot.compress(build(model=str(model), **options), out=out)


@pytest.mark.parametrize(
    ("options", "bits", "sparsity"),
    [
        ({"method": "none"}, 16.0, 0.0),
        ({"method": "magnitude", "structure": "2:4"}, 16.0, 0.5),
        ({"method": "magnitude", "sparsity": 0.25}, 16.0, 0.25),
        ({"method": "wanda", "structure": "2:4"}, 16.0, 0.5),
        ({"method": "sparsegpt", "structure": "4:8"}, 16.0, 0.5),
        ({"method": "gptq", "bits": 3, "options": {"act_order": False}}, 3.2, None),
        ({"method": "gptq", "bits": 4}, 4.25, None),
        ({"method": "gptq", "bits": 8, "group_size": 32}, 8.5, None),
        ({"method": "awq", "bits": 4, "options": {"grid": 3}}, 4.25, None),
        ({"method": "autoround", "bits": 4, "options": {"iterations": 2}}, 4.25, None),
        ({"method": "rtn", "bits": 3}, 3.2, None),
        ({"method": "rtn", "bits": 4, "group_size": 32}, 4.5, None),
        ({"method": "rtn", "bits": 8}, 8.25, None),
    ],
    ids=lambda value: (
        "-".join(str(part) for part in value.values()) if isinstance(value, dict) else None
    ),
)
def test_each_method_writes_what_its_record_says(
    tiny_model: Path, tmp_path: Path, options: dict[str, Any], bits: float, sparsity: float | None
) -> None:
    record = compress(tiny_model, tmp_path / "out", **options)
    assert checkpoint.load(tmp_path / "out") == record
    assert checkpoint.verify(tmp_path / "out") == []
    assert record.bytes == sum(
        path.stat().st_size for path in (tmp_path / "out").glob("*.safetensors")
    )
    assert record.digest == digests.of_value(record.manifest)
    assert record.reload_check.max_logit_difference <= record.reload_check.tolerance
    assert bits <= record.effective_bits < bits + 0.6
    if sparsity is not None:
        assert record.sparsity == pytest.approx(sparsity, abs=0.01)
    structure = options.get("structure")
    assert record.structure_verified == structure
    assert record.recipe.group_size == options.get("group_size", 64 if "bits" in options else None)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_rounding_gives_the_nearest_value_of_each_group_and_loses_more_with_fewer_bits(
    tiny_model: Path,
) -> None:
    import torch

    errors = {}
    for bits in (2, 3, 4, 5, 6, 8):  # 2 bits only in Python: a control that has to be noticed
        model, _ = load(tiny_model)
        layer = model.get_submodule("model.layers.0.mlp.up_proj")
        before = layer.weight.detach().clone().reshape(-1, 64)
        Rtn(bits=bits, group_size=64).apply(model, [])
        with torch.no_grad():
            after = layer(torch.eye(64)).T  # the layer rounds its weights when it computes
        step = before.abs().max(dim=1, keepdim=True).values / (2**bits - 1) * 2
        codes = (before / step).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        errors[bits] = float((after - before).norm() / before.norm())
        assert torch.allclose(after, codes * step, atol=1e-6), bits
    assert errors[2] > 2 * errors[3] > 4 * errors[4] > 30 * errors[8] > 0


def test_autoround_learns_and_leaves_the_rest_of_the_model_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    engine.import_quietly()
    from llmcompressor.modifiers.autoround import AutoRoundModifier

    padding = []
    pad = AutoRoundModifier._pad_captured_inputs

    def seen(modifier: Any, captured: Any) -> Any:
        padding.append(pad(modifier, captured)[1])
        return pad(modifier, captured)

    monkeypatch.setattr(AutoRoundModifier, "_pad_captured_inputs", seen)

    folder = families.build("llama", tmp_path / "llama")
    draw = torch.Generator().manual_seed(0)
    samples = [torch.randint(250, (1, length), generator=draw) for length in (40, 6, 30, 9)]
    dense = load(folder)[0]

    def hidden(model: Any) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([model.model(ids).last_hidden_state for ids in samples], dim=1)

    wanted = hidden(dense)
    errors = []
    for method in (Rtn(bits=3, group_size=64), Autoround(bits=3, group_size=64, iterations=20)):
        model = load(folder)[0]
        method.apply(model, samples)
        errors.append(float((hidden(model) - wanted).norm()))
        floats = {value.dtype for value in model.parameters() if value.is_floating_point()}
        assert floats == {torch.float32}
        assert torch.equal(model.model.norm.weight, dense.model.norm.weight)
    assert errors[1] < 0.9 * errors[0], errors
    assert padding == [None, None], "no block learned from padding"


def test_same_recipe_gives_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    first, second = (
        compress(tiny_model, tmp_path / name, method="magnitude", structure="2:4")
        for name in ("a", "b")
    )
    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gptq", "bits": 4, "group_size": 48}, "model.layers.0.self_attn.q_proj"),
        (
            {"method": "gptq", "bits": 4, "calibration_samples": 100000},
            "Lower calibration_samples",
        ),
        ({"method": "wanda", "calibration": "file:missing.txt"}, "missing.txt"),
    ],
)
def test_refuses_and_leaves_nothing(
    tiny_model: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        compress(tiny_model, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_reloads_differently_does_not_count(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "TOLERANCE", -1.0)
    with pytest.raises(ServiceError, match="does not compute what the saved model did"):
        compress(tiny_model, tmp_path / "out", method="none")
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        compress(tiny_model, tmp_path / "out", method="none")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError(28, "No space left on device"), "disk is full"),
        (PermissionError(13, "Permission denied"), "Cannot write to .*: Permission denied"),
        (MemoryError(), "Not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Not enough memory"),
    ],
)
def test_a_failing_machine_is_one_line_and_leaves_nothing(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    message: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(oneshot, "_save", fail)
    with pytest.raises(ServiceError, match=message):
        compress(tiny_model, tmp_path / "out", method="none")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_the_tokenizer_is_one_line(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedTokenizerFast

    def fail(*_: object, **__: object) -> None:
        raise Exception("No space left on device (os error 28)")  # as the tokenizers library does

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", fail)
    with pytest.raises(ServiceError, match="Cannot save the checkpoint: No space left"):
        compress(tiny_model, tmp_path / "out", method="none")
    assert list(tmp_path.iterdir()) == []


def test_verify_names_what_changed(tiny_model: Path, tmp_path: Path) -> None:
    compress(tiny_model, tmp_path / "out", method="none")
    (tmp_path / "out" / "config.json").write_text("{}")
    (tmp_path / "out" / "extra.bin").write_text("")
    (tmp_path / "out" / "generation_config.json").unlink()
    assert checkpoint.verify(tmp_path / "out") == [
        "config.json",
        "extra.bin",
        "generation_config.json",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no checkpoint.json"),
        ("{", "not valid JSON"),
        (json.dumps({"bytes": 1}), "field"),
    ],
)
def test_broken_record(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "checkpoint.json").write_text(text)
    with pytest.raises(UserError, match=message):
        checkpoint.load(tmp_path)


def test_dense_bytes_of_a_32_bit_source(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    for name, dtype in (("half", torch.bfloat16), ("full", torch.float32)):
        (tmp_path / name).mkdir()
        save_file(
            {"weight": torch.zeros(32, 32, dtype=dtype)}, tmp_path / name / "model.safetensors"
        )
    half, full = tmp_path / "half", tmp_path / "full"
    assert checkpoint.dense_bytes(half) == (half / "model.safetensors").stat().st_size
    larger = (full / "model.safetensors").stat().st_size
    assert checkpoint.dense_bytes(full) == larger - 2 * 32 * 32
    # some publishers add the same weights in another layout
    (full / "consolidated.safetensors").write_bytes((full / "model.safetensors").read_bytes())
    assert checkpoint.dense_bytes(full) == larger - 2 * 32 * 32


def test_leftovers_of_a_killed_process_are_removed(tiny_model: Path, tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive, other = (
        tmp_path / f".out.{host}-{process}-x"
        for host, process in (
            (whereabouts.place(), ended.pid),
            (whereabouts.place(), os.getpid()),
            ("elsewhere", ended.pid),
        )
    )
    for folder in (dead, alive, other):
        folder.mkdir()
    compress(tiny_model, tmp_path / "out", method="none")
    assert (dead.exists(), alive.exists(), other.exists()) == (False, True, True)
