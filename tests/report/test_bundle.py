"""What describes an exported bundle: model card metadata, bill of materials, evidence map."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard, ModelCardData

from comptrust.gate import policy as policies
from comptrust.gate.evidence import Evidence
from comptrust.gate.verdict import judge
from comptrust.models import presets
from comptrust.records import Recipe
from comptrust.report import bom, card_metadata, evidence_map, model_card
from comptrust.report.bundle import Bundle
from comptrust.tracking.registry import Version
from comptrust.trust import suite as suites
from comptrust.trust.run import evaluate
from tests.support import logged_runs

LLAMA = "meta-llama/Llama-2-7b-chat-hf"
COMMIT = "f5db02db724555f92da89c216ac04704f23d4590"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model that forgets some of what its dense source knows; stereotype is not measured."""
    folder, suite = tmp_path_factory.mktemp("bundle"), suites.load("mini", limit=40)
    recipe = Recipe(base_model=LLAMA, revision=COMMIT, method="gptq", bits=8, group_size=64)
    evaluations = []
    for forgets in (2, 12):
        record = logged_runs.checkpoint(recipe)
        model, out = logged_runs.Forgetful(forgets=forgets, seed=0), folder / str(forgets)
        measured = evaluate(model, suite, out=out, checkpoint_digest=record.digest)
        evaluations.append(dataclasses.replace(measured, checkpoint=record))
    dense, candidate = evaluations
    card = candidate.scorecard
    scores = tuple(
        score.model_copy(update={"value": None, "reason": "No signal."})
        if score.dimension == "stereotype"
        else score
        for score in card.scores
    )
    measured = dataclasses.replace(candidate, scorecard=card.model_copy(update={"scores": scores}))
    return Bundle(
        version=Version("llama", "7", "run", "source", {}),
        measured=measured,
        verdict=judge(Evidence(candidate=measured, baseline=dense), policies.load("literal")),
        attestation=None,
        config={"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
        license=presets.license_of(recipe, folder=folder),
        hub_id=presets.hub_id(LLAMA),
        files={"model/config.json": "a" * 64, "verdict.json": "b" * 64, "scorecard.json": "c" * 64},
    )


def measured_scores(bundle: Bundle) -> dict[str, float]:
    scores = bundle.measured.scorecard.scores
    return {score.dimension: score.value for score in scores if score.value is not None}


def validate(bundle: Bundle) -> dict:
    text = bom.render(bundle)
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert errors is None, errors
    return json.loads(text)


def test_hugging_face_reads_every_score_back(bundle: Bundle) -> None:
    data = ModelCard(model_card.render(bundle)).data
    results = {
        (result.dataset_config, result.metric_type): result for result in data.eval_results or []
    }
    scores = {
        config: one.metric_value for (config, kind), one in results.items() if kind == "score"
    }
    assert scores == measured_scores(bundle) and "stereotype" not in scores
    assert results["ethics", "score"].dataset_type == "mini"
    assert results["ethics", "score"].dataset_args["digest"] == bundle.measured.suite.digest
    again = ModelCardData(model_name=data.model_name, eval_results=data.eval_results)
    [index] = again.to_dict()["model-index"]
    assert index == card_metadata.fields(bundle)["model-index"][0]
    assert (data.base_model, data.base_model_relation) == (LLAMA, "quantized")
    assert (data.license, data.library_name) == ("llama2", "transformers")
    assert {"comptrust", "gptq", "8-bit"} <= set(data.tags or [])


def test_the_metadata_of_a_pruned_folder_claims_no_base_and_no_license(bundle: Bundle) -> None:
    recipe = Recipe(base_model="/models/mine", revision="r", method="wanda", sparsity=0.5)
    assert bundle.measured.checkpoint
    record = bundle.measured.checkpoint.model_copy(update={"recipe": recipe})
    measured = dataclasses.replace(bundle.measured, checkpoint=record)
    own = dataclasses.replace(bundle, measured=measured, license={}, hub_id=None)
    fields = card_metadata.fields(own)
    assert not {"license", "base_model", "base_model_relation"} & fields.keys()
    assert "pruned" in fields["tags"]
    [ancestor] = validate(own)["metadata"]["component"]["pedigree"]["ancestors"]
    assert ancestor == {"type": "machine-learning-model", "name": "mine", "version": "r"}


def test_the_bill_of_materials_is_valid_and_says_what_was_measured(bundle: Bundle) -> None:
    document = validate(bundle)
    model = document["metadata"]["component"]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    values = {metric["type"]: float(metric["value"]) for metric in metrics}
    assert {name: values[f"trust/{name}"] for name in measured_scores(bundle)} == measured_scores(
        bundle
    )
    assert "trust/stereotype" not in values and "drop/ethics" in values
    [limit] = model["modelCard"]["considerations"]["technicalLimitations"]
    assert limit.startswith("stereotype was not measured")
    bounds = {
        metric["type"]: metric["confidenceInterval"]
        for metric in metrics
        if "trust" in metric["type"]
    }
    low, high = (float(bounds["trust/ethics"][key]) for key in ("lowerBound", "upperBound"))
    assert low <= values["trust/ethics"] <= high
    [ancestor] = model["pedigree"]["ancestors"]
    assert ancestor["purl"] == f"pkg:huggingface/{LLAMA}@{COMMIT}"
    assert model["licenses"] == [{"license": {"name": "llama2"}}]
    files = {
        item["name"]: item["hashes"][0]["content"]
        for item in document["components"]
        if item["type"] == "file"
    }
    assert files == bundle.files
    [suite] = [item for item in document["components"] if item["bom-ref"] == "suite"]
    assert bundle.measured.suite.digest in json.dumps(suite)
    assert bom.render(bundle) == bom.render(bundle)


def test_the_map_names_what_answers_an_item_and_what_nothing_does(bundle: Bundle) -> None:
    text = evidence_map.render(bundle, [*bundle.files, "README.md", bom.NAME])
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if "|" in line}
    assert "scorecard.json" in rows["MEASURE 2.10"]
    assert "| nothing in this bundle |" in text and "not a claim of conformity" in text
    assert "GOVERN 1.1" in text and "GOVERN 1.1" not in rows
    fewer = evidence_map.render(dataclasses.replace(bundle, license={}), bundle.files)
    [line_of_license] = [line for line in fewer.splitlines() if "| the licence |" in line]
    assert "nothing in this bundle" in line_of_license


def test_the_map_accounts_for_every_subcategory_once() -> None:
    [nist] = [section for section in evidence_map.sections() if section.others]
    named = sorted([*(row.item for row in nist.rows), *nist.others])
    sizes = {
        "GOVERN": (7, 3, 2, 3, 2, 2),
        "MAP": (6, 3, 5, 2, 2),
        "MEASURE": (3, 13, 3, 3),
        "MANAGE": (4, 4, 2, 3),
    }
    assert named == sorted(
        f"{function} {category}.{number}"
        for function, categories in sizes.items()
        for category, count in enumerate(categories, 1)
        for number in range(1, count + 1)
    )


@pytest.mark.parametrize(
    ("page", "license"),
    [
        ("---\nlicense: mit\n---\n# x", {"license": "mit"}),
        (
            "---\nlicense: other\nlicense_name: mine\nlicense_link: LICENSE\n---\n",
            {"license": "other", "license_name": "mine", "license_link": "LICENSE"},
        ),
        ("---\nlicense: [mit]\n---\n", {}),
        ("---\nlicense: *alias\n---\n", {}),
        ("---\nlicense: {\n---\n", {}),
        ("# no front matter\nlicense: mit\n", {}),
        ("\xff", {}),
    ],
)
def test_a_license_is_what_the_page_states(page: str, license: dict, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(page.encode("latin-1"))
    recipe = Recipe(base_model=str(tmp_path), revision="r", method="none")
    assert presets.license_of(recipe, folder=tmp_path / "nowhere") == license


def test_the_embedded_model_has_a_license_and_a_name() -> None:
    recipe = Recipe(base_model="builtin:smollm2-135m-instruct", revision="r", method="none")
    assert presets.license_of(recipe, folder=Path("nowhere")) == {"license": "apache-2.0"}
    assert re.fullmatch(r"\w+/[\w-]+", str(presets.hub_id(recipe.base_model)))
    assert presets.hub_id("/a/b") is None
