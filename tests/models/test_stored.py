"""What config.json states of quantized weights is compared with the numbers in the files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from comptrust.errors import UserError
from comptrust.models import loading, readers, stored
from tests.support import published

Weights = dict[str, torch.Tensor]
W4A16, FP8, BLOCK = (f"compressed-tensors {name}" for name in ("W4A16", "FP8", "FP8_BLOCK"))
GPTQ, DEEPSEEK = "GPTQ, 4 bits, groups of 32", "FP8 of DeepSeek"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return where a layout is, written once."""
    folders: dict[str, Path] = {}

    def of(layout: str) -> Path:
        if layout not in folders:
            place = tmp_path_factory.mktemp("layout")
            published.save(layout, place)
            folders[layout] = place / "model"
        return folders[layout]

    return of


def scheme(**fields: Any) -> Callable[[Any], None]:
    """Return what states other fields of the weights of compressed-tensors."""

    def change(settings: Any) -> None:
        for group in settings["config_groups"].values():
            group["weights"].update(fields)

    return change


def without(ending: str) -> Callable[[Weights], Weights]:
    return lambda weights: {
        name: value for name, value in weights.items() if not name.endswith(ending)
    }


STATED: list[tuple[str, Callable[[Any], None], str]] = [
    (W4A16, scheme(num_bits=8), "states 8 bits, but its files hold 4.0"),
    (W4A16, scheme(group_size=64), "states 4 bits, but its files hold 8.0"),
    (W4A16, scheme(strategy="channel", group_size=None), "each row, but .*weight_scale has"),
    (FP8, scheme(type="int"), "weights of type int, but .*proj.weight is F8_E4M3"),
    (FP8, scheme(strategy="channel"), "a scale for each row, but"),
    (BLOCK, scheme(strategy="tensor", block_structure=None), "a scale for each matrix, but"),
    (BLOCK, scheme(block_structure=[64, 64]), "a scale for blocks of 64 x 64, but"),
    (DEEPSEEK, lambda all: all.update(weight_block_size=[64, 64]), "blocks of 64 x 64, but"),
]


@pytest.mark.parametrize(("layout", "change", "message"), STATED)
def test_a_false_statement_is_refused_with_what_the_files_hold(
    saved: Callable[[str], Path],
    tmp_path: Path,
    layout: str,
    change: Callable[[Any], None],
    message: str,
) -> None:
    folder = shutil.copytree(saved(layout), tmp_path / "model")
    readers.check(folder)
    config = json.loads((folder / "config.json").read_text())
    change(config["quantization_config"])
    (folder / "config.json").write_text(json.dumps(config))
    for read in (loading.load, loading.check_whole):
        with pytest.raises(UserError, match=message):
            read(folder)


def test_numbers_wider_than_stated_are_read_but_not_taken_for_their_size(
    saved: Callable[[str], Path],
) -> None:
    folder = saved("compressed-tensors W4A8")
    loading.load(folder)
    with pytest.raises(UserError, match="states 4 bits, but its files hold 8.0"):
        stored.check(folder)


@pytest.mark.parametrize("blocks", [["a", 0], [128], 128, [128, 0]])
def test_blocks_are_two_numbers(
    saved: Callable[[str], Path], tmp_path: Path, blocks: object
) -> None:
    folder = shutil.copytree(saved(DEEPSEEK), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["weight_block_size"] = blocks
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="which are no two numbers"):
        stored.check(folder)


HELD: list[tuple[str, Callable[[Weights], Weights], str]] = [
    (W4A16, without("1.mlp.up_proj.weight_scale"), "weight_packed without its scale"),
    (DEEPSEEK, without("1.mlp.up_proj.weight_scale_inv"), "up_proj.weight without its scale"),
    (
        GPTQ,
        lambda all: all | {"model.layers.0.mlp.up_proj.weight": torch.zeros(256, 128)},
        "up_proj.weight beside .*up_proj.qweight",
    ),
    (
        GPTQ,
        lambda all: {name: value - int(name.endswith("g_idx")) for name, value in all.items()},
        "g_idx has -1",
    ),
]


@pytest.mark.parametrize(("layout", "change", "message"), HELD)
def test_files_that_do_not_hold_one_whole_model_are_refused(
    saved: Callable[[str], Path],
    tmp_path: Path,
    layout: str,
    change: Callable[[Weights], Weights],
    message: str,
) -> None:
    folder = shutil.copytree(saved(layout), tmp_path / "model")
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    for read in (loading.load, loading.check_whole):
        with pytest.raises(UserError, match=message):
            read(folder)


@pytest.mark.parametrize("place", ["input", "output", "k_cache", "q_attn", "weight_input"])
def test_rotations_that_transformers_leaves_out_are_refused(
    saved: Callable[[str], Path], tmp_path: Path, place: str
) -> None:
    folder = shutil.copytree(saved(W4A16), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    rotation = {"type": "hadamard", "apply": [{"targets": ["Linear"], "location": place}]}
    config["quantization_config"]["transform_config"] = {"config_groups": {"R4": rotation}}
    (folder / "config.json").write_text(json.dumps(config))
    if place == "weight_input":  # in the weights already
        readers.check(folder)
        return
    with pytest.raises(UserError, match=f"R4: {place}.*which transformers leaves out"):
        readers.check(folder)
