"""Real logs of lm-evaluation-harness 0.4.13: the embedded model, dense and rounded to 4 bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comptrust.errors import UserError
from comptrust.gate.evidence import differences
from comptrust.imports import pairing
from comptrust.imports.formats.lm_eval import LmEval
from comptrust.tracking import evaluations

DATA = Path(__file__).parents[1] / "data" / "imports"
SIDES = {"dense": "lm_eval_dense", "candidate": "lm_eval_rtn"}


def write(out: Path, folders: dict[str, Path] | None = None, **options: Any) -> pairing.Paired:
    cluster = options.pop("cluster", None)
    folders = folders or {side: DATA / name for side, name in SIDES.items()}
    logs = {side: LmEval().read(folder, cluster=cluster) for side, folder in folders.items()}
    return pairing.write(logs, out=out, **options)


def changed(tmp_path: Path, pattern: str, edit: Callable[[str], str]) -> dict[str, Path]:
    """Copy both logs, with one file of the candidate's edited."""
    folders = {
        side: Path(shutil.copytree(DATA / name, tmp_path / side)) for side, name in SIDES.items()
    }
    [file] = folders["candidate"].glob(pattern)
    file.write_text(edit(file.read_text()))
    return folders


def test_means_are_those_of_the_harness(tmp_path: Path) -> None:
    paired = write(tmp_path)
    for side, name in SIDES.items():
        [file] = (DATA / name).glob("results_*.json")
        results = json.loads(file.read_text())["results"]
        card = evaluations.load(str(paired.folders[side])).scorecard
        stated = {
            "lm-eval/capitals/acc": results["capitals"]["acc,none"],
            "lm-eval/capitals/acc_norm": results["capitals"]["acc_norm,none"],
            "lm-eval/sums/exact_match.strict": results["sums"]["exact_match,strict"],
        }
        measured = {score.dimension: score.value for score in card.scores}
        assert measured == pytest.approx(
            {key: 100 * value for key, value in stated.items()}, abs=1e-9
        )
        assert card.engine["backend"] == "lm-eval/hf"
        assert card.engine["dtype"] == "float32"
    assert paired.notes == (
        "brier_score of capitals: left out, as the samples have no single number of it",
    )


def test_other_shots_are_named(tmp_path: Path) -> None:
    def five_shots(text: str) -> str:
        results = json.loads(text)
        results["n-shot"]["sums"] = 5
        return json.dumps(results)

    paired = write(tmp_path / "out", changed(tmp_path, "results_*", five_shots))
    both = [evaluations.load(str(folder)) for folder in paired.folders.values()]
    assert differences(*both) == ["asked sums num_fewshot"]
    assert "sums num_fewshot: 0 for the dense model, 5 for the candidate" in paired.notes


def test_a_changed_prompt_is_not_paired(tmp_path: Path) -> None:
    def other_prompt(text: str) -> str:
        first, *rest = text.splitlines()
        return "\n".join([json.dumps(json.loads(first) | {"prompt_hash": "f" * 64}), *rest])

    folders = changed(tmp_path, "samples_sums*", other_prompt)
    with pytest.raises(UserError, match=r"the results state \(task_hashes.sums\)"):
        write(tmp_path / "out", folders)
    [file] = folders["candidate"].glob("results_*")
    results = json.loads(file.read_text())
    del results["task_hashes"]["sums"]
    file.write_text(json.dumps(results))
    paired = write(tmp_path / "out", folders)
    assert "sums/exact_match.strict: 1 document asked with another prompt" in paired.notes[-1]
    for folder in paired.folders.values():
        card = evaluations.load(str(folder)).scorecard
        assert card["lm-eval/sums/exact_match.strict"].value is None
        assert card["lm-eval/capitals/acc"].value is not None


def without_acc(text: str) -> str:
    lines = [json.loads(line) for line in text.splitlines()]
    return "".join(json.dumps(line | {"metrics": ["acc_norm"]}) + "\n" for line in lines)


def test_a_removed_metric_is_not_measured(tmp_path: Path) -> None:
    paired = write(tmp_path / "out", changed(tmp_path, "samples_capitals*", without_acc))
    card = evaluations.load(str(paired.folders["candidate"])).scorecard
    assert card["lm-eval/capitals/acc"].value is None
    assert "lm-eval/capitals/acc: the log of the candidate has no such metric" in paired.notes


@pytest.mark.parametrize(
    ("pattern", "edit", "message"),
    [
        ("samples_sums*", lambda text: text.partition("\n")[2], "19 documents, but the results"),
        ("samples_sums*", lambda text: text + text.partition("\n")[0], "doc_id 0, filter .* is"),
        ("samples_sums*", lambda text: text[:-40], "not valid JSON"),
        ("samples_sums*", lambda text: text.replace('"exact_match": 1.0', '"exact_match": 0.0'),
         "exact_match.strict of sums is 0.3 in the results, but its 20 samples give 0"),
        ("samples_sums*", lambda text: text.replace("doc_hash", "hash"), "no field 'doc_hash'"),
        ("results_*", lambda text: "{}", "is not a results file"),
        ("results_*", lambda text: text.replace('"sums"', '"sum"'), "no samples_sum_"),
    ],
    ids=["removed", "twice", "truncated", "other scores", "no hashes", "empty", "no samples"],
)  # fmt: skip
def test_broken_logs_are_refused(
    tmp_path: Path, pattern: str, edit: Callable[[str], str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        write(tmp_path / "out", changed(tmp_path, pattern, edit))
    assert not (tmp_path / "out").exists()


def test_clusters_are_a_field_of_the_document(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no field 'region' for --cluster"):
        write(tmp_path, cluster="region")  # sums has no such field


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no results file \(results_\*.json\)"):
        LmEval().read(tmp_path, cluster=None)
