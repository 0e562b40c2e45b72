"""The grid: what a sweep file expands to, and which files are refused with which line."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptrust import config
from comptrust.errors import UserError
from comptrust.sweep import grid
from comptrust.sweep.sweep_file import models

MODEL = "models: [org/model]\n"


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return str(path)


EXPANSIONS = [
    (
        "calibrated methods get three seeds",
        "methods: [gptq]\nbits: [4]\n",
        ["dense", "gptq-4bit-s0", "gptq-4bit-s1", "gptq-4bit-s2"],
    ),
    ("others one", 'methods: [magnitude]\nstructure: ["2:4"]\n', ["dense", "magnitude-2of4-s0"]),
    ("pruning without a rate is half", "methods: [magnitude]\n", ["dense", "magnitude-50pct-s0"]),
    (
        "a count of seeds",
        "methods: [awq]\nbits: [3, 8]\nseeds: 1\n",
        ["dense", "awq-3bit-s0", "awq-8bit-s0"],
    ),
    (
        "named seeds",
        "methods: [awq]\nbits: [3]\nseeds: [7, 11]\n",
        ["dense", "awq-3bit-s7", "awq-3bit-s11"],
    ),
    (
        "a method of one width needs no bits, and seeds only where texts calibrate it",
        "methods: [fp8, gptq]\nbits: [4]\nseeds: 2\ninclude:\n  - {method: fp8, seed: 1}\n",
        ["dense", "fp8-dynamic-8bit-s0", "gptq-4bit-s0", "gptq-4bit-s1", "fp8-dynamic-8bit-s1"],
    ),
    (
        "and with an option that calibrates it",
        "methods: [fp8]\nseeds: 2\noptions: {fp8: {scheme: static}}\n",
        ["dense", "fp8-static-8bit-s0", "fp8-static-8bit-s1"],
    ),
    ("dense alone", "methods: [none]\n", ["dense"]),
    (
        "bits go to quantizers, patterns to pruners",
        'methods: [gptq, magnitude]\nbits: [4]\nstructure: ["2:4"]\nseeds: 1\n',
        ["dense", "gptq-4bit-s0", "magnitude-2of4-s0"],
    ),
    (
        "shares of zeros go with unstructured alone",
        'methods: [magnitude]\nstructure: ["4:8", unstructured]\nsparsity: [0.3, 0.6]\n',
        ["dense", "magnitude-4of8-s0", "magnitude-30pct-s0", "magnitude-60pct-s0"],
    ),
    (
        "include adds, and never twice",
        (
            "methods: [gptq]\nbits: [4]\nseeds: 1\ninclude:\n  - {method: gptq, bits: 4, seed: 0}\n"
            "  - {method: awq, bits: 3, seed: 5}\n"
        ),
        ["dense", "gptq-4bit-s0", "awq-3bit-s5"],
    ),
    (
        "exclude takes away",
        (
            "methods: [gptq, awq]\nbits: [3, 4]\nseeds: 2\nexclude:\n  - {method: awq, bits: 3}\n "
            " - {method: gptq, seed: 1}\n"
        ),
        ["dense", "gptq-3bit-s0", "gptq-4bit-s0", "awq-4bit-s0", "awq-4bit-s1"],
    ),
    (
        "options of a method",
        "methods: [gptq]\nbits: [4]\nseeds: 1\noptions: {gptq: {group_size: 64, dampening: 0.1}}\n",
        ["dense", "gptq-4bit-g64-s0"],
    ),
]


@pytest.mark.parametrize(
    ("text", "slugs"), [case[1:] for case in EXPANSIONS], ids=[case[0] for case in EXPANSIONS]
)
def test_expansion(text: str, slugs: list[str], tmp_path: Path) -> None:
    found = grid.load(written(tmp_path, MODEL + text)).recipes
    assert [recipe.slug for recipe in found] == slugs


def test_models_that_are_measured_as_they_are_get_no_compressed_cell(tmp_path: Path) -> None:
    text = (
        "models: [a/large]\ndense_only: [{name: a/small, parameters: 7}]\nmethods: [gptq]\nbits:"
        " [8]\nseeds: 1\n"
    )
    found = grid.load(written(tmp_path, text))
    assert [(one.base_model, one.slug) for one in found.recipes] == [
        ("a/large", "dense"),
        ("a/small", "dense"),
        ("a/large", "gptq-8bit-s0"),
    ]
    parameters = {model.name: model.parameters for model in models(found.file)}
    assert parameters == {"a/large": None, "a/small": 7}


def test_options_reach_the_recipe_of_their_method_alone(tmp_path: Path) -> None:
    text = (
        MODEL + "methods: [gptq, awq]\nbits: [4]\nseeds: 1\noptions:\n  gptq: {dampening: 0.1,"
        " calibration: self, calibration_samples: 9}\n"
    )
    _, gptq, awq = grid.load(written(tmp_path, text)).recipes
    assert (gptq.options["dampening"], gptq.calibration, gptq.calibration_samples) == (
        0.1,
        "self",
        9,
    )
    assert (awq.calibration, awq.calibration_samples) == ("builtin", 64)


REFUSED = [
    ("unknown key", "method: [gptq]\n", "field 'method'"),
    ("wrong type", "methods: [gptq]\nbits: [four]\n", "field 'bits.0'"),
    ("unquoted pattern", "methods: [wanda]\nstructure: [2:4]\n", "write it in quotes"),
    (
        "unknown method",
        "methods:\n  - gptqq\nbits: [4]\n",
        "line 3: Unknown method 'gptqq'. Did you mean 'gptq'?",
    ),
    (
        "bits with pruning",
        'methods: [wanda]\nbits: [4]\nstructure: ["2:4"]\n',
        "line 3: bits is given, but no method has a choice of bits (methods: wanda)",
    ),
    (
        "bits with a method of one width",
        "methods: [fp8]\nbits: [8]\n",
        "line 3: bits is given, but no method has a choice of bits (methods: fp8)",
    ),
    (
        "pattern with quantization",
        'methods: [gptq]\nbits: [4]\nstructure: ["2:4"]\n',
        "line 4: structure is given, but no method prunes",
    ),
    (
        "included bits with pruning",
        "include:\n  - {method: wanda, bits: 4}\n",
        "line 3: bits 4 cannot be used with method wanda",
    ),
    (
        "included pattern with bits",
        'include:\n  - {method: gptq, bits: 4, structure: "2:4"}\n',
        "line 3: structure 2:4 cannot be used",
    ),
    (
        "bits that do not exist",
        "methods: [gptq]\nbits:\n  - 4\n  - 7\n",
        "line 5: Method gptq does not support bits 7",
    ),
    (
        "quantizing without bits",
        "methods: [awq]\n",
        "line 2: method awq needs bits. Known: 3, 4, 5, 6, 8.",
    ),
    (
        "share against pattern",
        'methods: [wanda]\nstructure: ["2:4"]\nsparsity: [0.6]\n',
        "line 4: sparsity contradicts structure",
    ),
    (
        "share out of range",
        "methods: [wanda]\nsparsity: [1.5]\n",
        "line 3: sparsity 1.5 is not between 0 and 1",
    ),
    ("nothing at all", "", "line 1: the grid has no cell"),
    (
        "all excluded",
        "methods: [gptq]\nbits: [4]\nexclude:\n  - {method: gptq}\n",
        "the grid has no cell",
    ),
    (
        "exclude of nothing",
        "methods: [gptq]\nbits: [4]\nexclude:\n  - {bits: 3}\n",
        "line 5: exclude {'bits': 3} matches no cell",
    ),
    (
        "include of another model",
        "include:\n  - {method: gptq, bits: 4, model: org/modle}\n",
        "line 3: Unknown model of this sweep 'org/modle'",
    ),
    ("include without method", "include:\n  - {bits: 4}\n", "line 3: include needs a method"),
    (
        "options of no method",
        "methods: [gptq]\nbits: [4]\noptions:\n  awq: {grid: 5}\n",
        "options for 'awq', which is not a method of this grid",
    ),
    (
        "unknown option",
        "methods: [gptq]\nbits: [4]\noptions: {gptq: {damp: 1}}\n",
        "Unknown option of gptq 'damp'",
    ),
    ("no seed", "methods: [gptq]\nbits: [4]\nseeds: 0\n", "field 'seeds"),
    (
        "no such resource",
        "methods: [gptq]\nbits: [4]\nresources: {cpu: 1}\n",
        "field 'resources.cpu'",
    ),
    (
        "no such dtype",
        "methods: [gptq]\nbits: [4]\ndtype: float16\n",
        "field 'dtype'",
    ),
    ("no YAML", "methods: [gptq\n", "is not valid YAML"),
]


@pytest.mark.parametrize(
    ("text", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_bad_sweep_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, MODEL + text)
    with pytest.raises(UserError) as caught:
        grid.load(path)
    assert (
        message in str(caught.value) and path in str(caught.value) and "\n" not in str(caught.value)
    )


def test_a_name_that_is_no_sweep_gets_a_hint() -> None:
    with pytest.raises(UserError, match="Unknown sweep 'smoek'. Did you mean 'smoke'"):
        grid.load("smoek")
    with pytest.raises(UserError, match="There is no sweep file nowhere.yaml"):
        grid.load("nowhere.yaml")


@pytest.mark.parametrize(
    ("name", "cells"),
    [("smoke", 4), ("bits", 1 + 2 * 3 * 3), ("paper", 3 * (1 + 2 * 3 * 3 + 2 * 3 * 3 + 3) + 3)],
)
def test_shipped_sweep(name: str, cells: int) -> None:
    found = grid.load(name)
    assert len(found.recipes) == cells and found.file.name == name
    assert len({recipe.digest_of_fields() for recipe in found.recipes}) == cells
    assert all(model.parameters for model in models(found.file))


def test_every_shipped_sweep_is_counted_above() -> None:
    shipped = (config.SHIPPED / "sweeps").glob("*.yaml")
    assert {path.stem for path in shipped} == {"smoke", "bits", "paper"}
