"""Options that do not fit together are refused in one line; the others become a recipe."""

from __future__ import annotations

from typing import Any

import pytest

from comptrust.compression.recipe import build
from comptrust.errors import UserError

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"method": "gptqq", "bits": 4}, "Did you mean 'gptq'"),
    ({"method": "gptq"}, "needs bits"),
    ({"method": "awq", "bits": 2}, "awq does not support bits 2"),
    ({"method": "rtn", "bits": 2}, "rtn does not support bits 2"),
    ({"method": "rtn", "bits": 4, "options": {"act_order": True}}, "Unknown option of rtn"),
    ({"method": "gptq", "bits": 16}, "gptq does not support bits 16"),
    ({"method": "wanda", "bits": 4}, "bits 4 cannot be used with method wanda"),
    ({"method": "wanda", "group_size": 64}, "group_size 64 cannot be used with"),
    ({"method": "none", "bits": 4}, "leaves the model dense"),
    ({"method": "none", "sparsity": 0.5}, "leaves the model dense"),
    (
        {"method": "gptq", "bits": 4, "structure": "2:4"},
        "structure 2:4 cannot be used with method gptq",
    ),
    (
        {"method": "gptq", "bits": 4, "sparsity": 0.5},
        "sparsity 0.5 cannot be used with",
    ),
    ({"method": "gptq", "bits": 4, "group_size": "sixty"}, "'sixty'"),
    ({"method": "gptq", "bits": 4, "group_size": 0}, "positive"),
    ({"method": "wanda", "structure": "3:4"}, "Unknown structure '3:4'"),
    ({"method": "wanda", "structure": "2:4", "sparsity": 0.6}, "contradicts structure 2:4"),
    ({"method": "magnitude", "sparsity": 1.0}, "not between 0 and 1"),
    ({"method": "magnitude", "sparsity": -0.1}, "not between 0 and 1"),
    ({"method": "magnitude", "sparsity": float("nan")}, "not between 0 and 1"),
    ({"method": "gptq", "bits": 4, "calibration": "wikitext"}, "Unknown calibration 'wikitext'"),
    ({"method": "gptq", "bits": 4, "calibration": "file:"}, "Unknown calibration 'file:'"),
    ({"method": "gptq", "bits": 4, "calibration_samples": 0}, "calibration_samples 0"),
    ({"method": "gptq", "bits": 4, "options": {"damping": 0.1}}, "Did you mean 'dampening'"),
    ({"method": "gptq", "bits": 4, "options": {"dampening": "much"}}, "Option dampening of gptq"),
    ({"method": "gptq", "bits": 4, "options": {"dampening": -1}}, "Option dampening of gptq"),
    ({"method": "awq", "bits": 4, "options": {"grid": 0}}, "Option grid of awq"),
    ({"method": "nvfp4", "group_size": 32}, "Option group_size of nvfp4: Input should be 16"),
    ({"method": "fp8", "bits": 4}, "fp8 does not support bits 4"),
    ({"method": "fp8", "group_size": 64}, "group_size 64 cannot be used with method fp8"),
    ({"method": "fp8", "options": {"scheme": "blocks"}}, "Option scheme of fp8"),
    (
        {"method": "fp8", "options": {"scheme": "static"}, "server": "vllm-cpu"},
        "method fp8 writes at 8 bits with scheme static: its kernel takes no static scales",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_meaningless_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build(model="builtin:smollm2-135m-instruct", **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "fields", "slug"),
    [
        ({"method": "none"}, {"bits": None, "sparsity": None, "calibration": None}, "dense"),
        (
            {"method": "gptq", "bits": 3},
            {"bits": 3, "group_size": None, "calibration": "builtin"},
            "gptq-3bit-s0",
        ),
        (
            {"method": "awq", "bits": 4, "group_size": "64", "seed": 7},
            {"group_size": 64, "options": {"grid": 20}},
            "awq-4bit-g64-s7",
        ),
        (
            {"method": "wanda", "structure": "2:4"},
            {"sparsity": 0.5, "structure": "2:4"},
            "wanda-2of4-s0",
        ),
        (
            {"method": "sparsegpt", "structure": "2:4", "sparsity": 0.5},
            {"sparsity": 0.5},
            "sparsegpt-2of4-s0",
        ),
        (
            {"method": "magnitude", "sparsity": 0.3},
            {"structure": "unstructured", "calibration": None},
            "magnitude-30pct-s0",
        ),
        ({"method": "fp8"}, {"bits": 8, "calibration": None}, "fp8-dynamic-8bit-s0"),
        (
            {"method": "nvfp4"},
            {"bits": 4, "group_size": 16, "calibration": "builtin"},
            "nvfp4-w4a4-4bit-g16-s0",
        ),
        (
            {"method": "fp8", "options": {"kv_cache": "fp8"}},
            {"group_size": None, "calibration": "builtin"},
            "fp8-dynamic-kv-fp8-8bit-s0",
        ),
        ({"method": "wanda"}, {"sparsity": 0.5, "structure": "unstructured"}, "wanda-50pct-s0"),
    ],
)
def test_recipes_from_options(options: dict[str, Any], fields: dict[str, Any], slug: str) -> None:
    recipe = build(model="m", **options)
    assert {name: getattr(recipe, name) for name in fields} == fields
    assert recipe.slug == slug
