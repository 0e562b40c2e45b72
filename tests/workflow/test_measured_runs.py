"""With a signing key, what runs is signed as it runs, and nothing else is judged or reused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import comptrust
from comptrust.cli.app import comptrust as command
from comptrust.errors import ComptrustError
from comptrust.gate.signing import keys, measurements
from comptrust.tracking import evaluations, registry, runs
from comptrust.trust import suite as suites
from tests.support import pins
from tests.support.stores import RUN_VARIABLES

MAGNITUDE = "--method magnitude --structure 2:4"
ASKED = "--suite mini --dimensions fairness --limit 6"
RULES = """
name: mine
rules:
  - {rule: complete}
  - {rule: max_drop, points: 99, evidence: observed}
"""


@pytest.fixture(scope="module")
def world(
    empty_store: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Return a folder with a registry, a key, a policy and the first run."""
    folder = tmp_path_factory.mktemp("measured")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        for name in RUN_VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("COMPTRUST_CACHE", str(folder / "cache"))
        patch.setenv("COMPTRUST_KEYS", str(folder / "keys"))
        patch.setenv("COMPTRUST_ARTIFACT_URI", (folder / "artifacts").as_uri())
        patch.chdir(folder)
        rules = RULES + pins.text(pins.of_suite(suites.load("mini", dimensions=["fairness"])))
        (folder / "mine.yaml").write_text(rules)
        (folder / "sealed.yaml").write_text(f"{rules}sealed: required\n")
        call("keys init")
        yield folder


def call(line: str) -> Result:
    done = CliRunner().invoke(command, line.split())
    if isinstance(done.exception, ComptrustError):
        done.exit_code, done.stderr_bytes = done.exception.exit_code, str(done.exception).encode()
    elif done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def run(model: Path, *more: str) -> tuple[dict[str, object], str]:
    done = call(
        f"run --model {model} {MAGNITUDE} {ASKED} --policy mine.yaml --json --no-fail"
        f" {' '.join(more)}"
    )
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


def measured_by(ref: str) -> str:
    return measurements.read(evaluations.load(ref)).key_id


def outcome(told: dict[str, object], rule: str = "measured") -> tuple[str, str]:
    findings = told["findings"]
    assert isinstance(findings, list)
    [finding] = [finding for finding in findings if finding["rule"] == rule]
    return finding["outcome"], finding["reason"]


def test_a_team_with_one_key_just_works(world: Path, tiny_model: Path) -> None:
    told, said = run(tiny_model)
    [key] = keys.load_public_keys()
    assert "evaluating it once" in said and outcome(told)[0] == "pass"
    candidate = evaluations.load(str(told["run"]))
    dense = evaluations.baseline(candidate)
    assert dense is not None and measured_by(dense.ref) == measured_by(candidate.ref) == key
    for evaluated in (candidate, dense):
        assert set(evaluated.files) == set(measurements.read(evaluated).files)
    name, version = str(told["version"]).removeprefix("models:/").split("/")
    again = call(f"gate {told['version']} --policy mine.yaml --record")
    assert again.exit_code == 0, again.output
    done = call(f"promote {name} {version} --to staging --policy mine.yaml")
    assert done.exit_code == 0, done.output
    assert call(f"verify {told['version']}").exit_code == 0
    again, said = run(tiny_model)
    assert f"evaluated before on this suite ({dense.ref}), reused" in said
    assert "asked for again" not in said


def test_a_strangers_run_is_no_dense_model(world: Path, tiny_model: Path) -> None:
    told, _ = run(tiny_model)
    candidate = evaluations.load(str(told["run"]))
    dense = evaluations.baseline(candidate)
    assert dense is not None
    logged = runs.client().get_run(dense.ref.removeprefix("runs:/"))
    with runs.start("dense", tags=logged.data.tags) as stranger:
        folder = runs.download(registry.run_of(candidate.ref), into=world / "stolen")
        (folder / measurements.NAME).unlink()
        runs.client().log_artifacts(stranger.id, str(folder))
    assert dense.recipe is not None
    newest = evaluations.dense(dense.recipe, candidate.scorecard.suite_digest)
    assert newest is not None and newest.ref == f"runs:/{stranger.id}"
    _, said = run(tiny_model)
    assert f"({dense.ref}), reused" in said
    done = call(f"gate {told['version']} --policy mine.yaml --record --json")
    assert done.exit_code == 0 and dense.ref in outcome_refs(done)
    done = call(
        f"gate {told['version']} --policy mine.yaml --record --baseline runs:/{stranger.id} --json"
    )
    assert done.exit_code == 3
    assert f"(runs:/{stranger.id}) is not signed" in outcome(json.loads(done.stdout))[1]


def outcome_refs(done: Result) -> list[str]:
    findings = json.loads(done.stdout)["findings"]
    [finding] = [finding for finding in findings if finding["rule"] == "measured"]
    return list(finding["evidence"]["signed_by"])


@pytest.mark.parametrize(
    "name", ["scorecard.json", "checkpoint.json", "generations/fairness.jsonl", "suite.json"]
)
def test_a_file_that_was_overwritten_before_the_gate(
    world: Path, tiny_model: Path, name: str, tmp_path: Path
) -> None:
    told, _ = run(tiny_model)
    run_id = registry.run_of(str(told["run"]))
    folder = runs.download(run_id, into=tmp_path / "run")
    text = (folder / name).read_text()
    changed = text.replace(": ", ":  ", 1)
    assert changed != text
    if name.startswith("generations"):  # with the scorecard that names it
        (folder / name).write_text(changed)
        from comptrust import digests

        card = (folder / "scorecard.json").read_text()
        old = json.loads(card)["generations"]["fairness"]
        card = card.replace(old, digests.of_file(folder / name))
        runs.Run(run_id).text("scorecard.json", card)
    with runs.service():
        place = name.rpartition("/")[0] or None
        (folder / name).write_text(changed)
        runs.client().log_artifact(run_id, str(folder / name), place)
    done = call(f"gate {told['version']} --policy mine.yaml --record --json")
    assert done.exit_code == 3
    assert "was changed" in outcome(json.loads(done.stdout))[1]


def test_answers_in_the_cache_are_asked_again_unless_this_key_marked_them(
    world: Path, tiny_model: Path
) -> None:
    run(tiny_model)
    for path in (world / "cache" / "evaluations").rglob(".fairness.partial.jsonl"):
        path.write_text(path.read_text().replace('"texts": ["', '"texts": ["I know: '))
    told, said = run(tiny_model)
    assert "not made with this signing key: asked for again" in said
    card = evaluations.load(str(told["run"]))
    assert "I know" not in str(card.generations)


def test_evaluate_and_python_sign_too(world: Path, tiny_model: Path) -> None:
    done = call(f"evaluate {tiny_model} {ASKED} --out evaluated --json")
    assert done.exit_code == 0, done.output
    [key] = keys.load_public_keys()
    assert measured_by("evaluated/scorecard.json") == key
    found = comptrust.evaluate(
        tiny_model, dimensions=["fairness"], limit=6, out=world / "in-python"
    )
    assert measurements.read(found).key_id == key
    assert not measurements.refusal(found, keys.load_public_keys())


def test_answers_from_elsewhere_are_signed_as_such(world: Path, tiny_model: Path) -> None:
    call(f"evaluate {tiny_model} {ASKED} --out evaluated")
    done = call("score evaluated/generations/fairness.jsonl --allow-partial --out stored")
    assert done.exit_code == 0, done.output
    stored = evaluations.load("stored")
    assert measurements.read(stored).role == "import"
    trusted = keys.load_public_keys()
    assert "evidence: imported" in measurements.refusal(stored, trusted)
    assert not measurements.refusal(stored, trusted, imports=True)


def test_a_run_under_a_seal(world: Path, tiny_model: Path) -> None:
    line = f"seal --policy sealed.yaml {ASKED} --out bar.json"
    done = call(f"{line} --json")
    assert done.exit_code == 0, done.output
    sealed = json.loads(done.stdout)["seal"]
    asked = suites.for_run("mini", dimensions=["fairness"], scoring="compressed-trust", limit=6)
    assert (sealed["suite_digest"], sealed["stop"]) == (asked.digest, "full")
    assert "is not overwritten" in call(line).stderr
    told, _ = run(tiny_model, "--policy sealed.yaml")
    assert outcome(told)[0] == "inconclusive" and "there is no seal.json" in outcome(told)[1]
    told, said = run(tiny_model, "--policy sealed.yaml --seal bar.json")
    assert outcome(told)[0] == "pass", outcome(told)
    assert "asked for again" in said  # the kept answers are older than the seal
    other = call(
        f"run --model {tiny_model} {MAGNITUDE} --suite mini --dimensions mmlu --limit 6"
        " --seal bar.json"
    )
    assert other.exit_code == 2 and "The seal is for suite mini" in other.stderr
    edited = (world / "bar.json").read_text().replace(sealed["policy_digest"], "0" * 64)
    (world / "edited.json").write_text(edited)
    other = call(f"evaluate {tiny_model} {ASKED} --out new --seal edited.json")
    assert other.exit_code == 2 and "is not as a trusted key signed it" in other.stderr


def test_a_seal_needs_a_key(world: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPTRUST_KEYS", str(world / "none"))
    (world / "any.json").write_text("{}")
    for line in (
        f"seal --policy mine.yaml {ASKED} --out new.json",
        f"evaluate {tiny_model} {ASKED} --out other --seal any.json",
        f"run --model {tiny_model} {MAGNITUDE} {ASKED} --seal any.json",
    ):
        done = call(line)
        assert done.exit_code == 2 and "no signing key" in done.stderr
