"""The library's face: what it exports, that it is quiet, and the examples of docs/python.md."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import comptrust
from comptrust.trust import evaluation
from tests.support import pins
from tests.support.echo import Echo
from tests.support.questions import suite

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests" / "data" / "release-0.1.0"
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
NOTEBOOK = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text(encoding="utf-8"))


def test_everything_public_is_there_and_typed() -> None:
    assert all(getattr(comptrust, name) is not None for name in comptrust.__all__)
    assert sorted(comptrust.__all__) == dir(comptrust)
    assert (Path(comptrust.__file__).parent / "py.typed").exists()
    with pytest.raises(AttributeError, match="no attribute 'promote'"):
        comptrust.promote  # noqa: B018


def test_importing_it_imports_no_other_library() -> None:
    code = (
        "import sys, comptrust; print({'torch', 'numpy', 'pydantic', 'mlflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def evaluated(tmp_path: Path, answer: str) -> comptrust.Evaluation:
    from comptrust.trust.run import evaluate

    folder = tmp_path / answer
    return evaluate(Echo(answer), suite(n=40), out=folder, checkpoint_digest=answer * 64)


def test_compare_and_judge(tmp_path: Path) -> None:
    good, bad = evaluated(tmp_path, "A"), evaluated(tmp_path, "Z")
    comparison = comptrust.compare(bad, good)
    drop = comparison["mmlu"]
    assert drop is not None and drop.n_prompts == 40
    frame = comparison.to_frame()
    assert frame.loc["mmlu", "observed"] == drop.observed
    with pytest.raises(comptrust.UserError, match="Did you mean 'mmlu'"):
        comparison["mmul"]
    verdict = comptrust.judge(good, good, policy="literal")
    assert verdict.outcome in ("pass", "inconclusive")
    assert good.scorecard["mmlu"].n_prompts == 40
    assert list(good.scorecard.to_frame().index) == ["mmlu"]
    with pytest.raises(comptrust.UserError, match="Unknown dimension 'ood'"):
        good.scorecard["ood"]


def test_evaluations_that_do_not_belong_together_are_not_compared(tmp_path: Path) -> None:
    kept = evaluation.load(KEPT / "candidate", ref="kept")
    with pytest.raises(comptrust.UserError, match="cannot be compared: suite_digest"):
        comptrust.compare(evaluated(tmp_path, "A"), kept)


def test_names_of_evaluations_are_read(tmp_path: Path) -> None:
    cards = [str(KEPT / role / "scorecard.json") for role in ("candidate", "baseline")]
    verdict = comptrust.judge(*cards, policy=KEPT / "policy.yaml")
    assert (verdict.outcome, verdict.findings[1].rule) == ("inconclusive", "suite")
    named = pins.text(pins.of_answers(evaluation.load(KEPT / "candidate", ref="kept")))
    (tmp_path / "p.yaml").write_text((KEPT / "policy.yaml").read_text() + named)
    assert comptrust.judge(*cards, policy=tmp_path / "p.yaml").outcome == "pass"
    drop = comptrust.compare(*cards)["mmlu"]
    assert drop is not None and round(drop.observed, 1) == 11.1


def test_a_verdict_shows_its_card_without_markup_from_outside() -> None:
    finding = comptrust.Finding(
        rule="max_drop",
        outcome="block",
        reason="<script>alert(1)</script>",
        evidence={"dimensions": {"<b>ood": {"observed": 7.25, "outcome": "block"}}},
    )
    verdict = comptrust.Verdict(
        policy="<i>p",
        policy_digest="1",
        checkpoint_digest="2",
        baseline_digest=None,
        scorecard_digest="3",
        findings=(finding,),
    )
    html = verdict._repr_html_()
    assert "<script" not in html and "<i>" not in html and "<b>ood" not in html
    assert "✕ block" in html and "+7.2" in html and "not measured" in html


def test_scores_of_a_dimension_in_two_files_are_refused() -> None:
    answers = KEPT / "candidate" / "generations" / "ethics.jsonl"
    assert comptrust.score(answers)["ethics"].n_prompts == 6
    with pytest.raises(comptrust.UserError, match="holds ethics answers"):
        comptrust.score(answers, answers)


def shown(source: str, names: dict[str, Any]) -> Any:
    """Run an example as a notebook does: the value of a last expression is what is shown."""
    *statements, last = ast.parse(source).body
    exec(compile(ast.Module(statements, []), "example", "exec"), names)
    if not isinstance(last, ast.Expr):
        exec(compile(ast.Module([last], []), "example", "exec"), names)
        return None
    return eval(compile(ast.Expression(last.value), "example", "eval"), names)


@pytest.mark.slow
def test_the_examples_of_the_page_run_and_print_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"answers": KEPT / "candidate" / "generations"}
    values = [shown(example, names) for example in EXAMPLES]
    assert capfd.readouterr() == ("", "")
    assert values[0][0] > 1e8 and 0.4 < values[0][1] < 0.7
    assert 0 <= values[1] <= 100
    assert list(values[2].index) == ["mmlu", "ethics"]
    assert values[4] in ("block", "inconclusive")
    assert values[5] == sorted(comptrust.score(*names["answers"].glob("*.jsonl")))
    assert values[6].startswith("Unknown method 'gptqq'. Did you mean 'gptq'?")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_notebook_runs_and_its_outputs_are_those_that_it_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After the page's examples, whose model and answers it shares."""
    names: dict[str, Any] = {}
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        value = shown("".join(cell["source"]), names)
        if value is not None:
            [output] = cell["outputs"]
            assert ("text/html" in output["data"]) == hasattr(value, "_repr_html_")
    assert capsys.readouterr().out.split()[:2] == cells[-1]["outputs"][0]["text"][0].split()[:2]
    assert names["verdict"].outcome == "block"


def test_a_checkout_that_is_not_installed_compresses_and_evaluates(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `mlflow run` does in the environment of conda.yaml."""
    find = metadata.Distribution.from_name

    def installed(name: str) -> metadata.Distribution:
        if name == "comptrust":
            raise metadata.PackageNotFoundError(name)
        return find(name)

    monkeypatch.setattr(metadata.Distribution, "from_name", installed)
    made = comptrust.compress(tiny_model, "magnitude", structure="2:4", out=tmp_path / "made")
    questions = {"dimensions": ["mmlu"], "limit": 1}
    answers = comptrust.evaluate(made, out=tmp_path / "answers", **questions)
    assert made.versions["comptrust"] == comptrust.__version__
    assert answers.scorecard.provenance["code_version"] == comptrust.__version__
