"""Figures on the runs of a real store, and the commands that put them there."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.errors import ComptrustError
from comptrust.report import answers, entries, page
from comptrust.tracking import runs
from tests.support.logged_runs import LoggedRuns

OWN_FILES = {"answers.html", "card.html", "forest.html", "forest.png"}
FAMILY_FILES = {
    f"{name}.{kind}" for name in ("curves", "heatmap", "tradeoff") for kind in ("html", "png")
}


def invoke(*words: str) -> tuple[int, str]:
    """Return exit code and output as `comptrust` gives them."""
    result = CliRunner().invoke(comptrust, list(words))
    error = result.exception
    return (
        (error.exit_code, str(error))
        if isinstance(error, ComptrustError)
        else (result.exit_code, result.output)
    )


def artifacts(run_id: str) -> set[str]:
    return {Path(item.path).name for item in runs.client().list_artifacts(run_id, "report")}


def test_a_judged_run_keeps_its_card_and_its_forest_plot(
    own_runs: LoggedRuns, tmp_path: Path
) -> None:
    run_id = own_runs.runs["gptq-4bit-g64-s0"]
    assert artifacts(run_id) == OWN_FILES
    folder = runs.download(run_id, into=tmp_path, only=["report"]) / "report"
    assert (folder / "forest.png").read_bytes().startswith(b"\x89PNG")
    card = (folder / "card.html").read_text()
    assert 'class="badge block"' in card and "Flipped answers" in card
    assert "points allowed" in (folder / "forest.html").read_text()


def test_report_stands_on_its_own_and_logs_the_figures_on_the_runs(
    own_runs: LoggedRuns, tmp_path: Path
) -> None:
    assert invoke("report", "--out", "quiet.html", "--no-log")[0] == 0
    assert artifacts(own_runs.runs["dense"]) == OWN_FILES
    code, said = invoke(
        "report", "--out", "folder/report.html", "--ui", "http://mlflow.example:1234"
    )
    assert code == 0, said
    assert "8 runs: folder/report.html" in said
    assert all(artifacts(run_id) == OWN_FILES | FAMILY_FILES for run_id in own_runs.runs.values())
    shown = Path("folder/report.html").read_text()
    for run_id in own_runs.runs.values():
        assert f"http://mlflow.example:1234/#/experiments/1/runs/{run_id}" in shown
    assert len(shown) < 1_000_000
    judged = own_runs.runs["gptq-4bit-g64-s0"]
    assert f'href="report_answers/{judged}.html#prompt=' in shown
    assert Path(f"folder/report_answers/{judged}.html").stat().st_size < 1_000_000


def test_a_report_without_texts_keeps_what_was_parsed(own_runs: LoggedRuns, tmp_path: Path) -> None:
    assert invoke("report", "--out", "report.html", "--no-texts", "--no-log")[0] == 0
    assert "Statement:" not in Path("report.html").read_text()
    run_id = own_runs.runs["gptq-4bit-g64-s0"]
    [packed] = [entry.answers for entry in entries.read() if entry.run_id == run_id]
    shown = answers.unpack(answers.find(Path(f"report_answers/{run_id}.html").read_text()))
    logged = answers.unpack(packed)
    assert shown is not None and logged is not None
    assert [row.compressed and row.compressed.answer for row in shown.rows] == [
        row.compressed and row.compressed.answer for row in logged.rows
    ]
    assert "Statement:" in logged.model_dump_json()
    for row in shown.rows:
        sides = filter(None, (row.dense, row.compressed))
        assert not (row.prompt or row.options or row.target or any(side.texts for side in sides))


def test_a_run_from_before_has_no_page_of_answers_and_says_so(
    own_runs: LoggedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "PAGE", "none.html")
    assert invoke("report", "--out", "report.html", "--no-log")[0] == 0
    assert "This run has no page of all answers" in Path("report.html").read_text()
    assert not Path("report_answers").exists()


def test_answers_with_markup_reach_the_pages_as_text(own_runs: LoggedRuns, tmp_path: Path) -> None:
    run_id = own_runs.runs["gptq-3bit-g64-s2"]
    [entry] = [entry for entry in entries.read() if entry.run_id == run_id]
    assert any("<script>" in flip["compressed"] for flip in entry.flips)
    page.log_version(run_id)
    folder = runs.download(run_id, into=tmp_path / "downloaded", only=["report"])
    text = (folder / "report" / "card.html").read_text()
    assert "&lt;script&gt;document.title" in text
    assert "<script>document" not in text and "<img" not in text


def test_the_page_stays_on_the_run_that_mlflow_made_for_it(
    own_runs: LoggedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = runs.client()
    project = opened.create_run(runs.experiment_id()).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", project)
    code, said = invoke("report", "--out", "report.html")
    assert code == 0, said
    assert artifacts(project) == {"report.html"}


def test_gate_refreshes_the_card(own_runs: LoggedRuns, tmp_path: Path) -> None:
    run_id = own_runs.runs["gptq-8bit-g64-s0"]
    before = (
        runs.download(run_id, into=tmp_path / "before", only=["report"]) / "report" / "card.html"
    )
    assert "<dd>demo</dd>" in before.read_text()
    code, said = invoke("gate", f"runs:/{run_id}", "--policy", "literal", "--record")
    assert code in (0, 1, 3), said
    after = runs.download(run_id, into=tmp_path / "after", only=["report"]) / "report" / "card.html"
    assert "<dd>literal</dd>" in after.read_text()
    invoke("gate", f"runs:/{run_id}", "--policy", "demo", "--record")  # the artifacts are shared


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--experiment", "none such"], "Unknown experiment 'none such'"),
        (["--smaller", "builtin:forgetful"], "is not MODEL=OTHER"),
        (
            ["--smaller", "builtin:forgetful=tiny"],
            "no dense run of 'tiny'. Known: builtin:forgetful",
        ),
        (["--ui", "localhost"], "'localhost' is not an http(s) address"),
    ],
)
def test_mistakes_are_named(own_runs: LoggedRuns, words: list[str], message: str) -> None:
    code, said = invoke("report", *words)
    assert (code, message in said) == (2, True), said


def test_an_experiment_without_scores_is_a_mistake(own_runs: LoggedRuns) -> None:
    runs.client().create_experiment("empty")
    code, said = invoke("report", "--experiment", "empty")
    assert (code, said.partition(".")[0]) == (2, "The experiment has no finished run with scores")
