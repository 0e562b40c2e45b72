"""Runs: what is logged, how they end, and a store that does not answer."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import time
from pathlib import Path

import pytest

from comptrust import whereabouts
from comptrust.errors import ServiceError, UserError
from comptrust.records import Generation, Message, Prompt
from comptrust.serving_cost import ServingCost
from comptrust.tracking import metrics, runs, serving_cost, store
from comptrust.trust.evaluation import Evaluation
from tests.support.records import checkpoint_of, scorecard_of


def test_a_run_logs_what_was_measured_and_nothing_else(store: Path, tiny: Path) -> None:
    checkpoint = checkpoint_of(tiny)
    card = scorecard_of(checkpoint)
    folder = store / "evaluation"
    folder.mkdir()
    (folder / "scorecard.json").write_text(card.model_dump_json())
    with runs.start("gptq-4bit") as run:
        run.recipe(checkpoint.recipe, suite="mini")
        run.checkpoint(checkpoint)
        with run.timed("evaluate"):
            run.evaluation(folder, card)
    logged = runs.client().get_run(run.id)
    assert logged.info.status == "FINISHED"
    assert (
        logged.data.params.items()
        >= {
            "model": "builtin:tiny",
            "method": "gptq",
            "bits": "4",
            "suite": "mini",
            "seed": "0",
        }.items()
    )
    assert "structure" not in logged.data.params
    expected = {"trust/mmlu": 50.0, "refusal/mmlu": 2.0, "size/bytes": 100.0, "size/ratio": 4.0}
    assert expected.items() <= logged.data.metrics.items()
    assert not {"trust/ood", "refusal/ood"} & logged.data.metrics.keys()
    assert {"time/evaluate"} <= logged.data.metrics.keys()
    assert {item.path for item in runs.client().list_artifacts(run.id)} == {
        "recipe.json",
        "checkpoint.json",
        "scorecard.json",
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("x"), "FAILED"),
        (ValueError(), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(1), "KILLED"),
    ],
)
def test_an_interrupted_run_says_so(error: BaseException, status: str, store: Path) -> None:
    with pytest.raises(type(error)), runs.start("one") as run:
        raise error
    assert runs.client().get_run(run.id).info.status == status


def test_sigterm_ends_the_run_as_killed(store: Path) -> None:
    with pytest.raises(SystemExit), runs.start("one") as run:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert runs.client().get_run(run.id).info.status == "KILLED"


def test_the_run_that_mlflow_started_is_used(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = runs.client().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    with runs.start("adopted") as adopted, runs.start("dense", adopt=False) as dense:
        assert adopted.id == given != dense.id
    assert runs.client().get_run(dense.id).info.experiment_id == "0"


def test_without_a_setting_everything_goes_to_the_project_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "MLproject").write_text("name: x\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert store.tracking_uri() == f"sqlite:///{tmp_path.resolve() / 'mlflow.db'}"
    with runs.start("one") as run:
        run.text("recipe.json", "{}")
    assert list((tmp_path / "mlartifacts").rglob("recipe.json"))


@pytest.mark.parametrize("path", ["what?/mlflow.db", "what?", "what?now=yes/mlflow.db"])
def test_a_question_mark_that_would_end_the_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/{path}")
    with pytest.raises(UserError, match="the question mark ends the path"):
        runs.client()
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/it's/mlflow.db?timeout=9")
    runs.client()
    assert (tmp_path / "it's" / "mlflow.db").exists()


def test_an_unreachable_server_is_reported_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(ServiceError, match="No answer from the tracking server http://127.0.0.1:9"):
        runs.client()
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("path", ["/proc/mlflow.db", "/proc/below/mlflow.db"])
def test_a_store_that_cannot_be_created_is_reported_quickly(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    started = time.monotonic()
    expected = rf"Cannot create the tracking store {path}: .+\. Set MLFLOW_TRACKING_URI"
    with pytest.raises(UserError, match=expected) as caught:
        runs.client()
    assert time.monotonic() - started < 10
    assert "\n" not in str(caught.value)


def test_checking_for_a_store_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/below/mlflow.db")
    runs.client()
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["mlflow.db"]


def test_drops_need_both_scores(tiny: Path) -> None:
    checkpoint = checkpoint_of(tiny)
    compressed, dense = scorecard_of(checkpoint, value=40.0), scorecard_of(checkpoint)
    assert metrics.drop_metrics(compressed, dense) == {
        "drop/mmlu": 10.0,
        "drop/worst": 10.0,
    }
    assert metrics.drop_metrics(scorecard_of(checkpoint, value=None), dense) == {}


def test_a_run_keeps_the_cost_of_both_models(store: Path) -> None:
    costs = [
        ServingCost(tokens_per_second=speed, how="x", where="hf, here") for speed in (20.0, 10.0)
    ]
    with runs.start("dense", adopt=False) as dense, runs.start("compressed", adopt=False) as run:
        serving_cost.log(dense, costs[1])
        serving_cost.add_dense(run, f"runs:/{dense.id}")
        assert serving_cost.of_run(run.id) is None  # was not measured
        serving_cost.log(run, costs[0])
        serving_cost.add_dense(run, f"runs:/{dense.id}")
    kept = serving_cost.of_run(run.id)
    assert kept and (kept.model, kept.dense) == tuple(costs)
    assert (kept.share("tokens_per_second"), kept.share("peak_bytes")) == (2.0, None)
    assert runs.client().get_run(run.id).data.metrics == {"serve/tokens_per_second": 20.0}
    for broken in ("{", '{"model": {"tokens_per_second": 0, "how": "x", "where": "y"}}'):
        run.text("serving_cost.json", broken)
        assert serving_cost.of_run(run.id) is None


def test_sound_variants_are_logged_beside_their_score(tiny: Path) -> None:
    card = scorecard_of(checkpoint_of(tiny))
    scores = (card.scores[0].model_copy(update={"sound": {"mmlu_sound": 61.0}}), card.scores[1])
    logged = metrics.score_metrics(card.model_copy(update={"scores": scores}))
    assert logged == {"trust/mmlu": 50.0, "trust/mmlu_sound": 61.0, "refusal/mmlu": 2.0}


def test_flips_are_logged_with_question_and_both_answers(store: Path, tiny: Path) -> None:
    def answered(*texts: str) -> Evaluation:
        rows = [
            Generation(
                dimension="ethics",
                scenario="zero_shot",
                id=f"zero_shot#{n}",
                texts=(text,),
                target="wrong",
                extra={"group": "a"},
            )
            for n, text in enumerate(texts)
        ]
        return Evaluation(
            ref="", scorecard=scorecard_of(checkpoint_of(tiny)), generations={"ethics": rows}
        )

    question = Message(role="user", content="Is it wrong?")
    prompt = Prompt(
        id="zero_shot#1", dimension="ethics", scenario="zero_shot", messages=(question,)
    )
    with runs.start("one") as run:
        run.comparison(answered("wrong", "not wrong"), answered("wrong", "wrong"), prompts=[prompt])
    logged = runs.client().get_run(run.id)
    assert logged.data.metrics == {
        "drop/mmlu": 0.0,
        "drop/worst": 0.0,
        "flips/ethics": 50.0,
        "refusal_change/ethics": 0.0,
    }
    assert logged.data.tags["refusal_flagged"] == "none"
    shares = runs.read_json(run.id, "flip_shares.json")["ethics"]
    assert (shares["by_scenario"], shares["by_group"], shares["refusal_flagged"]) == (
        {"zero_shot": 50.0},
        {"a": 50.0},
        False,
    )
    table = runs.read_json(run.id, "flips.json")
    assert [dict(zip(table["columns"], row, strict=True)) for row in table["data"]] == [
        {
            "dimension": "ethics",
            "scenario": "zero_shot",
            "id": "zero_shot#1",
            "prompt": "Is it wrong?",
            "dense": "wrong",
            "compressed": "not wrong",
            "answers": "wrong -> not wrong",
            "effect": "lost",
        }
    ]


def test_runs_of_killed_processes_of_this_machine_are_ended(store: Path) -> None:
    client, here = runs.client(), whereabouts.place()
    gone = subprocess.Popen(["true"])
    gone.wait()
    processes = {
        "gone": f"{here}:{gone.pid}",
        "alive": f"{here}:{os.getpid()}",
        "elsewhere": f"other-{here}:{gone.pid}",
        "other container": f"{platform.node()}-{'0' * 12}:{gone.pid}",
        "older version": f"{platform.node()}:{gone.pid}",
    }
    experiment = runs.experiment_id()
    made = {
        name: client.create_run(experiment, tags={runs.PROCESS: process}).info.run_id
        for name, process in processes.items()
    }
    with runs.start("next"):
        pass
    ended = {name: client.get_run(run_id) for name, run_id in made.items()}
    assert {name: run.info.status for name, run in ended.items()} == {
        "gone": "FAILED",
        "alive": "RUNNING",
        "elsewhere": "RUNNING",
        "other container": "RUNNING",
        "older version": "RUNNING",
    }
    assert "killed" in ended["gone"].data.tags[runs.REASON]


def test_a_project_whose_path_has_quotes_and_marks_of_uris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    names = {'it\'s "new"': "both kinds of quotes", "what?": "of '[?]'", "a%20b": "of '%20'"}
    for name, message in names.items():
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        with pytest.raises(UserError, match=message):
            runs.client()
    folder = tmp_path / "it's 100% new #1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    paths = [str(folder / "model"), 'it\'s "new"', "it's another"]
    for path in paths:
        with runs.start(path, tags={"base_model": path}) as run:
            run.text("note.txt", path)
    assert sorted(path.name for path in folder.iterdir()) == ["mlartifacts", "mlflow.db"]
    assert {path.name for path in tmp_path.iterdir()} == {*names, folder.name}
    for path in paths:
        [found] = store.search_runs(store.has_tags({"base_model": path}))
        files = runs.download(found.info.run_id, into=tmp_path / "files", only=["note.txt"])
        assert (files / "note.txt").read_text() == path


def test_a_logged_model_cannot_lie_over_the_files_of_its_run(store: Path) -> None:
    client, experiment = runs.client(), runs.experiment_id()
    run_id = client.create_run(experiment).info.run_id
    answers = store / "answers.jsonl"
    answers.write_text("its own")
    client.log_artifact(run_id, str(answers), "generations")
    other = client.create_logged_model(experiment, name="generations", source_run_id=run_id)
    answers.write_text("another's")
    client.log_model_artifact(other.model_id, str(answers))

    laid_over = Path(client.download_artifacts(run_id, "generations", str(store)))
    assert (laid_over / "answers.jsonl").read_text() == "another's"  # as MLflow reads it
    with runs.files(run_id, "generations") as folder:
        assert (folder / "generations" / "answers.jsonl").read_text() == "its own"
