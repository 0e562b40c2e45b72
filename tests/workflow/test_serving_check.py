"""`verify --serving`: what a running server tells is compared; silence is no match."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from comptrust import digests
from comptrust.errors import ServiceError, UserError
from comptrust.trust.evaluation import Evaluation
from comptrust.workflow import serving_check
from tests.support import evaluations
from tests.support.served import Served, serving

VLLM = {"id": "tiny", "owned_by": "vllm"}


def judged(**provenance: str) -> Evaluation:
    made = evaluations.evaluation(evaluations.THREE, {"mmlu": 80.0})
    card = made.scorecard.model_copy(update={"provenance": provenance})
    return dataclasses.replace(made, scorecard=card)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    return folder


def states(facts: tuple[serving_check.Fact, ...]) -> dict[str, str]:
    return {fact.name: fact.state for fact in facts}


def test_what_vllm_tells(model: Path) -> None:
    measured = judged(backend="openai", server_version="vllm 0.32.0", dtype="bfloat16")
    manifest = digests.of_folder(model)
    listed = {"data": [VLLM | {"root": str(model)}]}
    with serving(version={"version": "0.32.0"}, models=listed) as url:
        facts = serving_check.check(url, measured, manifest)
        expected = {"engine": "matches", "dtype": "not told", "model": "matches"}
        assert states(facts) == expected
        assert serving_check.outcome(facts) == "inconclusive"
        (model / "model.safetensors").write_bytes(b"other weights")
        facts = serving_check.check(url, measured, manifest)
        assert states(facts)["model"] == "differs"
        assert serving_check.outcome(facts) == "block"


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        (  # TGI and SGLang tell the dtype, llama.cpp the file
            {"info": {"version": "3.1", "model_dtype": "torch.bfloat16"}},
            {"engine": "differs", "dtype": "matches", "model": "not told"},
        ),
        (
            {"get_server_info": {"dtype": "float16"}},
            {"engine": "not told", "dtype": "differs", "model": "not told"},
        ),
        (
            {"props": {"build_info": "b6000", "model_path": "MODEL/model.safetensors"}},
            {"engine": "differs", "dtype": "not told", "model": "matches"},
        ),
        (  # the dense source is not what was judged
            {"models": {"data": [VLLM | {"root": "BASE"}]}},
            {"engine": "not told", "dtype": "not told", "model": "differs"},
        ),
        (
            {"models": {"data": [VLLM, VLLM | {"id": "other"}]}},
            {"engine": "not told", "dtype": "not told", "model": "not told"},
        ),
        ({"models": []}, {"engine": "not told", "dtype": "not told", "model": "not told"}),
    ],
)
def test_what_other_servers_tell(
    model: Path, pages: dict[str, Any], expected: dict[str, str]
) -> None:
    measured = judged(backend="openai", server_version="vllm 0.32.0", dtype="bfloat16")
    base = measured.recipe.base_model if measured.recipe else ""
    text = json.dumps(pages).replace("MODEL", str(model)).replace("BASE", base)
    with serving(**json.loads(text)) as url:
        assert states(serving_check.check(url, measured, digests.of_folder(model))) == expected


def test_all_told_and_all_the_same_is_a_pass(model: Path) -> None:
    measured = judged(backend="openai", server_version="sglang 0.5", dtype="bfloat16")
    told = {"version": "0.5", "owned_by": "sglang", "dtype": "bfloat16", "model_path": str(model)}
    with serving(get_server_info=told) as url:
        facts = serving_check.check(url, measured, digests.of_folder(model))
    assert serving_check.outcome(facts) == "pass", facts


def test_no_server_and_no_address() -> None:
    with pytest.raises(ServiceError, match="does not answer"):
        serving_check.check("http://127.0.0.1:9", judged(), {})
    with pytest.raises(UserError, match="is not an http"):
        serving_check.check("tiny", judged(), {})


@pytest.mark.slow
def test_transformers_serve_tells_nothing_of_it(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "tiny")
    served = Served(tmp_path / "tiny", log=tmp_path / "log")
    try:
        measured = judged(backend="hf", transformers="5.17.0", dtype="float32")
        url = f"http://127.0.0.1:{served.port}/v1"
        facts = serving_check.check(url, measured, digests.of_folder(tmp_path / "tiny"))
    finally:
        served.kill()
    assert set(states(facts).values()) == {"not told"}
    assert serving_check.outcome(facts) == "inconclusive"
