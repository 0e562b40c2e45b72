"""The registry: names, versions that load, reuse of the dense model, and promotion."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest

from comptrust.errors import UserError
from comptrust.records import Finding, Prompt, Recipe, Result, Suite, Verdict
from comptrust.tracking import datasets, evaluations, metrics, promotion, registry, runs, views
from tests.support.records import checkpoint_of, scorecard_of

RECIPE = Recipe(base_model="builtin:tiny", method="gptq", bits=4)


def verdict_of(checkpoint_digest: str, scorecard_digest: str, *outcomes: Result) -> Verdict:
    findings = tuple(
        Finding(rule="max_drop", outcome=outcome, reason=f"found {outcome}") for outcome in outcomes
    )
    return Verdict(
        policy="default",
        policy_digest="7" * 64,
        checkpoint_digest=checkpoint_digest,
        baseline_digest=None,
        scorecard_digest=scorecard_digest,
        findings=findings,
    )


def registered(folder: Path, *outcomes: Result, **fields: object) -> registry.Version:
    """Log and register a checkpoint folder with a verdict of these outcomes."""
    checkpoint = checkpoint_of(folder, **fields)
    card = scorecard_of(checkpoint)
    with runs.start(
        "one", tags=registry.recipe_tags(checkpoint.recipe) | {"code_digest": "c"}
    ) as run:
        run.recipe(checkpoint.recipe, suite="mini")
        run.checkpoint(checkpoint)
        run.text("scorecard.json", card.model_dump_json())
        run.tags(metrics.scorecard_tags(card))
        verdict = (
            verdict_of(checkpoint.digest, card.digest_of_fields(), *outcomes) if outcomes else None
        )
        if verdict:
            run.verdict(verdict)
        version = registry.register(run, checkpoint, card, folder=folder)
        if verdict:
            registry.claim(version, verdict)
        return registry.resolve(version.ref)


def test_names_are_canonical(tmp_path: Path) -> None:
    folder = tmp_path / "My Model"
    folder.mkdir()
    names = [
        registry.model_name(name, "abcdef0123")
        for name in ("builtin:smollm2-135m-instruct", "Org/Model-7B", str(folder))
    ]
    assert names == ["smollm2-135m-instruct", "org--model-7b", "my--model-abcdef01"]


def test_mlflow_knows_what_was_read_and_what_the_model_scored(store: Path, tiny: Path) -> None:
    prompt = Prompt(id="a#1", dimension="mmlu", scenario="a", messages=())
    suite = Suite(name="mini", revision="1", required={"mmlu": ("a",)}, prompts=(prompt,))
    recipe = RECIPE.model_copy(
        update={
            "calibration": "hf:org/texts",
            "calibration_samples": 30,
            "calibration_digest": "c" * 64,
        }
    )
    version = registered(tiny)
    run, client = runs.Run(version.run_id), runs.client()
    asked = datasets.suite(suite, spec="decodingtrust:data")
    run.read(asked, context="evaluation")
    run.read(datasets.calibration(recipe), context="calibration")
    run.read(datasets.calibration(RECIPE), context="calibration")  # which had none
    assert version.model_id is not None
    run.metrics({"trust/mmlu": 50.0}, model_id=version.model_id, dataset=asked)
    logged = client.get_run(run.id)
    inputs = {item.tags[0].value: item.dataset for item in logged.inputs.dataset_inputs}
    assert {context: (item.name, item.digest) for context, item in inputs.items()} == {
        "evaluation": ("mini", suite.digest[:12]),
        "calibration": ("calibration hf:org/texts", "c" * 12),
    }
    assert mlflow.data.get_source(inputs["evaluation"]).to_dict()["uri"] == "decodingtrust:data"
    assert mlflow.data.get_source(inputs["calibration"]).path == "org/texts"
    assert {item.profile for item in inputs.values()} == {'{"num_rows": 1}', '{"num_rows": 30}'}
    model = client.get_logged_model(version.model_id)
    # MLflow itself adds what the run had measured before, without a dataset.
    [metric] = [metric for metric in model.metrics if metric.dataset_name]
    assert (metric.key, metric.value, metric.dataset_name) == ("trust/mmlu", 50.0, "mini")
    tags = client.get_experiment(logged.info.experiment_id).tags
    state = json.loads(json.loads(tags[views.TAG])["state"])
    assert "tags.`verdict`" in state["selectedColumns"]


def test_a_version_loads_as_pyfunc_with_the_same_bytes(store: Path, tiny: Path) -> None:
    import mlflow

    version = registered(tiny, "pass")
    assert version.ref == "models:/tiny/1"
    assert version.tags == {
        "recipe": "gptq-4bit-g32-s0",
        "verdict": "pass",
        "policy": "default",
        "signed_until": "not signed",
    }
    assert registry.checkpoint_digest(version) == checkpoint_of(tiny).digest
    fetched = registry.download(version.ref, into=store / "fetched")
    assert {path.name for path in tiny.iterdir()} == {path.name for path in fetched.iterdir()}
    assert all((fetched / path.name).read_bytes() == path.read_bytes() for path in tiny.iterdir())
    answer = mlflow.pyfunc.load_model(version.ref).predict(
        {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
    )
    assert answer[0]["choices"][0]["message"]["role"] == "assistant"
    read = evaluations.load(version.ref)
    assert read.checkpoint and read.checkpoint.recipe.slug == "gptq-4bit-g32-s0"
    assert read.scorecard == evaluations.load(f"runs:/{version.run_id}").scorecard


def test_tags_hide_no_sibling(store: Path, tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny, other)
    (other / "note.json").write_text("{}")
    candidate, sibling = registered(tiny), registered(other, seed=1)
    client = runs.client()
    for tag in ("scorecard_digest", "checkpoint_digest"):
        client.delete_model_version_tag(sibling.name, sibling.version, tag)
    client.set_model_version_tag(sibling.name, sibling.version, "method", "none")
    found = evaluations.siblings(evaluations.load(candidate.ref))
    assert [one.ref for one in found] == [sibling.ref]


def test_the_dense_evaluation_is_found_again(store: Path, tiny: Path) -> None:
    dense = registered(tiny, method="none", bits=None, group_size=None)
    recipe = checkpoint_of(tiny).recipe

    def found(recipe: Recipe, suite: str, **more: Any) -> str | None:
        evaluated = evaluations.dense(recipe, suite, **more)
        return evaluated and evaluated.ref

    ref = f"runs:/{dense.run_id}"
    assert found(recipe, "5" * 64) == found(recipe, "5" * 64, code_digest="c") == ref
    assert found(recipe, "4" * 64) is None
    assert found(recipe, "5" * 64, code_digest="d") is None
    assert found(recipe.model_copy(update={"revision": "r2"}), "5" * 64) is None
    assert found(recipe, "5" * 64, counts=lambda evaluated: evaluated.ref == ref) == ref
    assert found(recipe, "5" * 64, counts=lambda evaluated: False) is None


def test_a_recipe_run_again_stays_one_version_with_the_newer_evaluation(
    store: Path, tiny: Path
) -> None:
    first, again = registered(tiny, "pass"), registered(tiny, "pass", "block")
    assert (first.ref, again.ref, len(registry.versions("tiny"))) == (
        "models:/tiny/1",
        "models:/tiny/1",
        1,
    )
    assert first.run_id != again.run_id == registry.resolve("models:/tiny/1").run_id
    assert again.tags["verdict"] == "block"
    assert promotion.promote("tiny", "1", to="staging").outcome == "block"


@pytest.mark.parametrize(
    "ref",
    ["models:/tiny/9", "models:/none@champion", "models:/tiny", "runs:/short", "runs:/" + "0" * 32],
)
def test_an_unknown_reference_is_the_users_mistake(ref: str, store: Path) -> None:
    with pytest.raises(UserError, match=ref.removeprefix("runs:/")):
        evaluations.load(ref)


@pytest.mark.parametrize(
    ("to", "stage", "alias"),
    [("staging", "Staging", "challenger"), ("production", "Production", "champion")],
)
def test_a_passing_version_moves(to: str, stage: str, alias: str, store: Path, tiny: Path) -> None:
    version = registered(tiny, "pass", "pass")
    assert promotion.promote(version.name, version.version, to=to).outcome == "pass"
    assert runs.client().get_model_version(version.name, version.version).current_stage == stage
    assert (
        str(runs.client().get_model_version_by_alias(version.name, alias).version)
        == version.version
    )


def tampered_scorecard(version: registry.Version, tiny: Path) -> None:
    card = scorecard_of(checkpoint_of(tiny), value=99.0)
    runs.client().log_text(version.run_id, card.model_dump_json(), "scorecard.json")


def tampered_weights(version: registry.Version, tiny: Path) -> None:
    from mlflow.artifacts import download_artifacts

    weights = next(Path(download_artifacts(artifact_uri=version.ref)).rglob("model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")


def foreign_verdict(version: registry.Version, tiny: Path) -> None:
    verdict = verdict_of("0" * 64, scorecard_of(checkpoint_of(tiny)).digest_of_fields(), "pass")
    runs.client().log_text(version.run_id, verdict.model_dump_json(), "verdict.json")


@pytest.mark.parametrize(
    ("outcomes", "change", "outcome", "reason"),
    [
        ((), None, "inconclusive", "no verdict"),
        (("pass", "block"), None, "block", "found block"),
        (("pass", "inconclusive"), None, "inconclusive", "found inconclusive"),
        (("pass",), tampered_scorecard, "block", "scorecard has changed since the verdict"),
        (("pass",), tampered_weights, "block", "model.safetensors"),
        (("pass",), foreign_verdict, "block", "different checkpoints"),
    ],
)
def test_anything_else_stays_where_it_is(
    outcomes, change, outcome, reason, store: Path, tiny: Path
) -> None:
    version = registered(tiny, *outcomes)
    if change:
        change(version, tiny)
    result = promotion.promote(version.name, version.version, to="production")
    assert (result.outcome, result.stage) == (outcome, None)
    assert reason in result.reason
    stored = runs.client().get_model_version(version.name, version.version)
    assert (stored.current_stage, list(stored.aliases)) == ("None", [])


def test_a_verdict_under_another_policy_does_not_count(store: Path, tiny: Path) -> None:
    version = registered(tiny, "pass")
    for policy_digest, outcome in (("8" * 64, "inconclusive"), ("7" * 64, "pass")):
        result = promotion.promote(
            version.name, version.version, to="staging", policy=[policy_digest]
        )
        assert result.outcome == outcome


def test_siblings_are_the_other_compressed_versions(
    store: Path, tiny: Path, tmp_path: Path
) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(tiny, other)
    (other / "extra.json").write_text("{}")
    registered(tiny, method="none", bits=None, group_size=None)
    candidate = registered(tiny, "pass")
    beside = registered(other, "block", seed=1)
    siblings = evaluations.siblings(evaluations.load(candidate.ref))
    assert [sibling.ref for sibling in siblings] == [beside.ref]


def test_an_unknown_target_is_suggested() -> None:
    with pytest.raises(UserError, match="Did you mean 'staging'"):
        promotion.promote("tiny", "1", to="stagin")
