"""The whole search on a tiny model: split, candidates, winner, and nothing done twice."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comptrust import digests
from comptrust.cli.app import comptrust
from comptrust.errors import ServiceError, UserError
from comptrust.gate import policy as policies
from comptrust.records import Recipe
from comptrust.search import comparison, split
from comptrust.search.candidate import Task
from comptrust.sweep import engines
from comptrust.tracking import runs
from comptrust.tracking.store import search_runs
from comptrust.tracking.sweeps import Outcome
from comptrust.trust import sample
from comptrust.trust import suite as suites
from comptrust.trust.ledger import Ledger
from comptrust.trust.run import Asking
from tests.support.early import Losing, suite

POLICY = """
name: wide
stages: false
dense: allowed
rules:
  - {rule: max_drop, points: 60, dimensions: [fairness]}
"""


def search(folder: Path, model: Path, *words: str, policy: str = POLICY) -> Result:
    path = folder / "wide.yaml"
    path.write_text(policy)
    given = ["--model", str(model), "--policy", str(path), "--dimensions", "fairness"]
    return CliRunner().invoke(comptrust, ["search", *given, "--method", "rtn", "--json", *words])


@pytest.fixture
def place(tmp_path: Path, store: object, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_parts_do_not_overlap_and_the_held_back_one_is_what_run_asks() -> None:
    whole = suites.load("mini", dimensions=["mmlu", "stereotype"])
    asked, held = split.split(whole, 0.5)
    assert held.digest == suites.load("mini", dimensions=["mmlu", "stereotype"], limit=0.5).digest
    clusters = [
        {
            (name, cluster)
            for name, prompts in part.by_dimension().items()
            for cluster in sample.unanswered(prompts, dimension=name, suite=part).cluster.tolist()
        }
        for part in (asked, held)
    ]
    assert all(clusters) and not clusters[0] & clusters[1]
    assert len(asked.prompts) + len(held.prompts) == len(whole.prompts)


def test_a_part_on_which_nothing_can_pass_names_the_size_that_would_do() -> None:
    whole, policy = suites.load("mini", dimensions=["mmlu"]), policies.load("demo")
    with pytest.raises(UserError, match=r"held back: mmlu has 2\d items. A suite of [\d,]+ items"):
        split.check(whole, 20, policy)
    with pytest.raises(
        UserError, match=r"search with: mmlu has \d+ items. A suite of [\d,]+ items"
    ):
        split.check(whole, 0.9, policy)
    # Too few to measure their noise: the whole suite says what would do.
    with pytest.raises(UserError, match=r"mmlu has \d items. A suite of [\d,]+ items"):
        split.check(whole, 0.99, policy)
    with pytest.raises(UserError, match="nothing is left to search"):
        split.split(whole, 1.0)


def test_the_smallest_that_passes_is_judged_once_and_nothing_is_done_twice(
    place: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comptrust.compression import oneshot
    from comptrust.models.backends.hf import Hf

    done = search(place, tiny_model, "--budget", "3", "--held-back", "20%")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["verdict"] == "pass" and 1 <= len(found["trials"]) <= 3
    passed = [trial["bytes"] for trial in found["trials"] if trial["binding"]["outcome"] == "pass"]
    smallest = next(trial for trial in found["trials"] if trial["recipe"] == found["winner"])
    assert smallest["bytes"] == min(passed)
    run = runs.client().get_run(found["run"].removeprefix("runs:/"))
    verdict = runs.read_json(run.info.run_id, "verdict.json")
    count = f"{len(found['trials'])} candidate"
    assert f"the smallest that passed of {count}" in verdict["findings"][0]["reason"]
    parent = run.data.tags["mlflow.parentRunId"]
    children = search_runs(f"tags.`mlflow.parentRunId` = '{parent}'")
    assert len(children) == len(found["trials"]) + 1
    names = {item.path for item in runs.client().list_artifacts(parent, "report")}
    assert names == {"report/search.png", "report/sensitivity.png"}

    written = place / "report.html"
    report = CliRunner().invoke(comptrust, ["report", "--out", str(written)])
    assert report.exit_code == 0, report.output
    section = written.read_text().partition('<section id="searches">')[2]
    assert f"winner: {Recipe.model_validate(found['winner']).slug}" in section
    assert section.count("<svg") == 2

    def never(*args: object, **named: object) -> None:
        raise AssertionError("done twice")

    monkeypatch.setattr(oneshot, "_write", never)
    monkeypatch.setattr(Hf, "answer", never)
    runs.end(parent, status="FAILED", reason="It was killed.")
    again = search(place, tiny_model, "--budget", "3", "--held-back", "20%")
    assert again.exit_code == 0, again.output
    resumed = runs.client().get_run(parent)
    assert resumed.info.status == "FINISHED" and runs.REASON not in resumed.data.tags
    assert json.loads(again.stdout)["trials"] == found["trials"]

    shown = search(place, tiny_model, "--budget", "0")
    assert isinstance(shown.exception, UserError)


def test_a_candidate_that_a_rule_stops_anyway_is_not_asked(place: Path, tiny_model: Path) -> None:
    policy = POLICY + "  - {rule: full_evaluation}\n"
    words = ["--formats", "3,8", "--budget", "3", "--held-back", "20%"]
    done = search(place, tiny_model, *words, policy=policy)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    for trial in found["trials"]:
        few = trial["few_bits"] > 0
        assert (trial["finding"] or {}).get("rule") == ("full_evaluation" if few else None)
        assert few == (trial["prompts"] == 0) == (trial["binding"] is None)
    assert found["binding"] == "full_evaluation"
    assert "undecided: " in done.stderr and "needs all 9 dimensions" in done.stderr


@pytest.mark.slow
def test_candidates_in_processes_of_their_own_survive_a_kill(
    place: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int | None] = []

    class Killing(engines.Serial):
        def wait(self, seconds: float) -> list[Outcome]:
            ended = super().wait(seconds if killed else 0.0)
            if self.current and not killed:
                process = self.current[1]
                process.kill()
                killed.append(process.pid)
            return ended

    monkeypatch.setattr(engines, "engine", lambda address: Killing())
    words = ["--budget", "2", "--held-back", "20%", "--at-once", "2", "--address", "serial"]
    done = search(place, tiny_model, *words)
    assert done.exit_code == 0, done.output
    assert killed and done.stderr.count("lost, restarting: rtn-") == 1
    trials = json.loads(done.stdout)["trials"]
    assert len(trials) == 2 and trials[0]["bytes"] < trials[1]["bytes"]
    finished = search_runs("tags.searched LIKE '%' and attributes.status = 'FINISHED'")
    assert len(finished) == 2
    shared = dict.fromkeys(("settings", "shared"), {})
    other = Task(
        recipe=Recipe(base_model=str(tiny_model), method="rtn", bits=4, group_size=64),
        key="k", revision="of other files", dense=None, parent="", code="of other code", **shared,
    )  # type: ignore[arg-type]  # fmt: skip
    with pytest.raises(ServiceError, match="different version of comptrust"):
        other.work(0.0)
    with pytest.raises(UserError, match="has other files on this machine"):
        dataclasses.replace(other, code=digests.of_code()).work(0.0)


@pytest.mark.slow
def test_the_fastest_that_passes_wins_a_search_for_latency(place: Path, tiny_model: Path) -> None:
    words = ["--budget", "2", "--held-back", "20%", "--objective", "latency"]
    done = search(place, tiny_model, *words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    speeds = {
        json.dumps(trial["recipe"]): trial["cost"]["tokens_per_second"]
        for trial in found["trials"]
        if trial["binding"]["outcome"] == "pass"
    }
    assert speeds[json.dumps(found["winner"])] == max(speeds.values())
    verdict = runs.read_json(found["run"].removeprefix("runs:/"), "verdict.json")
    assert "the fastest that passed of " in verdict["findings"][0]["reason"]
    both = search(place, tiny_model, *words, "--at-once", "2")
    assert isinstance(both.exception, UserError) and "cannot be timed" in str(both.exception)


REFUSED = [
    (["--formats", "4,five"], POLICY, 2, "neither a number of bits nor dense"),
    (["--formats", "4"], POLICY, 2, "needs two formats"),
    (["--formats", "dense"], POLICY, 2, "left: dense"),
    (["--method", "magnitude"], POLICY, 2, "Known: awq, gptq, rtn"),
    (["--method", "autoround"], POLICY, 2, "bits of their own"),
    (["--for", "nowhere"], POLICY, 2, "Unknown server 'nowhere'"),
    (["--held-back", "0"], POLICY, 2, "held-back is 0"),
    (["--group-size", "7"], POLICY, 2, "7"),
    (["--formats", "3,4", "--for", "vllm-cpu"], POLICY, 2, "4 bits only"),
    (["--budget", "0h"], POLICY, 2, "does not allow one candidate"),
    (["--address", "auto"], POLICY, 2, "such as --at-once 4"),
    (["--at-once", "2", "--address", "nowhere"], POLICY, 2, "nowhere"),
    (["--held-back", "4"], POLICY.replace("60", "5"), 2, "Nothing can pass"),
    ([], POLICY.replace("max_drop, points: 60", "trusted_source, floors: {fairness: 100}")
     .replace(", dimensions: [fairness]", ""), 2, "no max_drop rule"),
    (["--held-back", "20%"], POLICY + "  - {rule: trusted_source, floors: {fairness: 100}}\n", 1,
     "below its floor"),
    (["--held-back", "20%"], POLICY + "  - {rule: sensitive, points: 94}\n", 3, "sensitive"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "policy", "code", "message"), REFUSED)
def test_what_cannot_succeed_is_refused_before_anything_is_compressed(
    place: Path, tiny_model: Path, words: list[str], policy: str, code: int, message: str
) -> None:
    done = search(place, tiny_model, *words, policy=policy)
    assert message in f"{done.output} {done.exception}"
    assert isinstance(done.exception, UserError) if code == 2 else done.exit_code == code
    kept = list((place / "cache" / "checkpoints").glob("*/rtn-*"))
    assert kept == []


def test_a_candidate_is_asked_only_until_it_is_decided(tmp_path: Path) -> None:
    asked = suite("mmlu", "ethics")
    limits = {"mmlu": 5.0, "ethics": 5.0}

    def asking(role: str, lost: dict[str, float]) -> Asking:
        return Asking(
            Losing(lost),
            asked,
            kept=tmp_path / role,
            checkpoint_digest=role,
            ledger=Ledger(),
            say=lambda line: None,
        )

    dense = asking("dense", {})
    for name in asked.required:
        dense.ask(name)
    answered = dense.finish(asked, out=tmp_path / "dense", dense=True)
    compared = comparison.Comparison.of(asked, answered, limits)
    found = {}
    for role, lost in (("same", {}), ("broken", {"mmlu": 0.5})):
        found[role] = compared.judge(asking(role, lost), say=lambda line: None)
    same, broken = found["same"][0], found["broken"][0]
    assert (same.outcome, same.lost, same.upper) == ("pass", 0.0, same.margin)
    assert (broken.outcome, broken.dimension) == ("block", "mmlu") and (broken.lost or 0) > 5
    assert broken.lower == broken.margin
    counts = {role: sum(map(len, ours.values())) for role, (_, ours, _) in found.items()}
    assert counts["broken"] < counts["same"] < len(asked.prompts)
