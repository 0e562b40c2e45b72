"""Pinned suites and dense sources: what a policy does not name, or answers do not show, never
passes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate import dense, pins
from comptrust.gate import policy as policies
from comptrust.gate.evidence import Evidence
from comptrust.gate.pins import PinnedSuite
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.gate.rules.trusted_source import TrustedSource
from comptrust.gate.verdict import judge
from comptrust.records import Choice, Finding, Message, Prompt, Sample, Suite
from comptrust.trust import content, sample
from comptrust.trust import suite as suites
from comptrust.trust.dimensions import dimensions
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.run import evaluate
from tests.support import pins as support
from tests.support.echo import Echo
from tests.support.evaluations import DENSE, EIGHT, evaluation, policy

MINI = PinnedSuite(name="mini", digest=suites.load("mini").digest)
MINI_BEFORE = "88fa40149a29ef208429442933c561dadaaa3a711e80ebda00dc1c139a5ec2ba"
"""What the version before gave the same prompts."""
DIGEST = "a" * 64


def answers(suite: Suite, folder: Path, text: str | None = None) -> Evaluation:
    made = evaluate(Echo(text), suite, out=folder, checkpoint_digest="c")
    return dataclasses.replace(made, ref="here")


def finding(candidate: Evaluation, *named: PinnedSuite, baseline: Any = True) -> Finding:
    evidence = Evidence(candidate, candidate if baseline else None)
    return pins.check(evidence, named, policy="mine")


@pytest.mark.parametrize("limit", [None, 4, 0.01])
def test_mini_and_its_seeded_sample_are_proven(limit: Any, tmp_path: Path) -> None:
    answered = answers(suites.load("mini", limit=limit), tmp_path)
    found = finding(answered, MINI)
    assert found.outcome == "pass", found.reason
    assert found.evidence["digest"] == MINI.digest
    assert finding(answered, MINI, baseline=False).outcome == "inconclusive"


def test_either_may_state_the_digest_of_an_earlier_version(tmp_path: Path) -> None:
    older = suites.load("mini").named(MINI_BEFORE)
    assert older.digest == MINI_BEFORE != MINI.digest
    before = PinnedSuite(name="mini", digest=MINI_BEFORE)
    for suite, pin in ((sample.draw(older, 2), MINI), (suites.load("mini", limit=2), before)):
        answered = answers(suite, tmp_path / pin.digest)
        assert finding(answered, pin).outcome == finding(answered, MINI, before).outcome == "pass"
        assert suites.answered(answered, "mini").digest == suite.digest
        assert finding(changed(answered, target="another"), pin).outcome == "inconclusive"


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return answers(suites.load("mini", limit=4), tmp_path_factory.mktemp("sampled"))


def changed(evaluated: Evaluation, **fields: Any) -> Evaluation:
    """Change the answers to mmlu, or with `suite` the manifest."""
    if "suite" in fields:
        assert evaluated.suite
        suite = evaluated.suite.model_copy(update=fields["suite"])
        return dataclasses.replace(evaluated, suite=suite)
    first, *others = evaluated.generations["mmlu"]
    rows = [first.model_copy(update=fields), *others]
    return dataclasses.replace(evaluated, generations={**evaluated.generations, "mmlu": rows})


@pytest.mark.parametrize(
    "fields",
    [
        {"target": "another"},
        {"id": "another"},
        {"scenario": "another"},
        {"extra": {"cluster": "another"}},
        {"dimension": "ethics"},
        {"suite": {"limit": 5}},
        {"suite": {"sample": Sample(parent=MINI.digest, seed=1)}},
        {"suite": {"digest": DIGEST}},
        {"suite": {"n_prompts": {}}},
        {"suite": {"scorers": {"toxicity": "local@0"}}},
    ],
)
def test_other_content_than_the_record_states(fields: Any, sampled: Evaluation) -> None:
    found = finding(changed(sampled, **fields), MINI)
    assert found.outcome == "inconclusive"
    assert "answers to other prompts than the seeded sample" in found.reason


def test_what_no_policy_names(sampled: Evaluation, tmp_path: Path) -> None:
    other = PinnedSuite(name="mini", digest=DIGEST)
    for named in ((), (other,), (MINI.model_copy(update={"name": "mimi"}),)):
        found = finding(sampled, *named)
        assert found.outcome == "inconclusive"
        assert f"suite mini ({MINI.digest}), which policy mine does not name" in found.reason
    nameless = finding(dataclasses.replace(sampled, suite=None), MINI)
    assert "has no suite.json" in nameless.reason
    # Another seed, with records that agree with each other.
    lucky = answers(sample.draw(suites.load("mini"), 4, seed=1), tmp_path)
    assert "other prompts than the seeded sample" in finding(lucky, MINI).reason
    # A part of the dimensions is another suite.
    part = answers(suites.load("mini", dimensions=["mmlu"]), tmp_path / "part")
    assert "does not name" in finding(part, MINI).reason
    assert finding(part, support.of_answers(part)).outcome == "pass"


def ad_hoc(n: int = 8, *, copies: bool = False) -> Suite:
    letters = tuple(Choice(text=letter, continuation=f" {letter}") for letter in "AB")
    prompts = tuple(
        Prompt(
            id=f"mmlu#{number}",
            dimension="mmlu",
            scenario="mmlu",
            messages=(Message(role="user", content=f"Say B{'.' * number * (not copies)}"),),
            choices=letters,
            target="B",
            extra={"subject": "letters", "cluster": f"item {number}"},
        )
        for number in range(n)
    )
    return Suite(name="official", revision="1", prompts=prompts, required={"mmlu": ("mmlu",)})


def test_without_the_data_a_whole_suite_is_proven_and_a_sample_is_not(tmp_path: Path) -> None:
    whole, part = ad_hoc(), sample.draw(ad_hoc(), 4)
    pin = support.of_suite(whole)
    assert finding(answers(whole, tmp_path / "a"), pin).outcome == "pass"
    found = finding(answers(part, tmp_path / "b"), pin)
    assert found.outcome == "inconclusive" and "cannot be checked here" in found.reason
    forged = changed(answers(whole, tmp_path / "c"), target="A")
    assert "answers to other prompts than all of suite official" in finding(forged, pin).reason


def test_data_that_is_not_the_pinned_one_proves_nothing(sampled: Evaluation) -> None:
    pin = PinnedSuite(name="mini", digest=MINI.digest, source="decodingtrust:/no/such/folder")
    found = finding(sampled, pin)
    assert found.outcome == "inconclusive" and "No data folder" in found.reason
    assert sampled.suite and sampled.suite.sample
    stated = {"sample": Sample(parent=DIGEST, seed=0)}
    other = finding(changed(sampled, suite=stated), PinnedSuite(name="mini", digest=DIGEST))
    assert f"'mini' here has the digest {MINI.digest[:12]}, not aaaaaaaaaaaa" in other.reason


def test_clusters_that_ask_the_same_are_one_item() -> None:
    assert content.items(ad_hoc()) == {"mmlu": 8}
    assert content.items(ad_hoc(copies=True)) == {"mmlu": 1}


def test_copies_of_one_prompt_count_once_where_the_data_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = ad_hoc(copies=True)
    monkeypatch.setattr(suites, "load", lambda spec, **options: copies)
    pin = support.of_suite(copies, mmlu=2).model_copy(update={"content": None})
    pins._expected.cache_clear()
    found = finding(answers(copies, tmp_path), pin)
    pins._expected.cache_clear()
    assert found.outcome == "inconclusive"
    assert "mmlu has 1 item, and the policy asks for 2" in found.reason


def drop(correct: int = 200) -> Evidence:
    """Return the evidence of a drop of 30 points on 400 items."""
    return Evidence(
        evaluation(EIGHT, {"mmlu": correct / 4}, correct=correct),
        evaluation(DENSE, {"mmlu": 80.0}, correct=320),
        model="m",
    )


@pytest.mark.parametrize(("least", "outcome"), [(400, "block"), (401, "inconclusive")])
@pytest.mark.parametrize("rule", [MaxDrop(), TrustedSource(floors={"mmlu": 90})])
def test_too_few_items_block_nothing(rule: Any, least: int, outcome: str) -> None:
    evidence = drop()
    pin = support.of_answers(evidence.candidate, mmlu=least)
    verdict = judge(evidence, dataclasses.replace(policy(rule), suites=(pin,)))
    assert verdict.outcome == outcome
    assert [one.rule for one in verdict.findings][:2] == ["comparable", "suite"]
    assert ("suite", least > 400) in [
        (one.rule, one.outcome == "inconclusive") for one in verdict.findings
    ]


@pytest.mark.parametrize("stages", [True, False])
def test_no_policy_that_guards_a_stage_is_without_the_finding(stages: bool) -> None:
    evidence = drop(320)
    rules = dataclasses.replace(policy(MaxDrop()), stages=stages)
    assert judge(evidence, rules).outcome == ("inconclusive" if stages else "pass")
    assert judge(evidence, support.naming(rules, evidence.candidate)).outcome == "pass"


@pytest.mark.parametrize("name", ["staging", "production"])
def test_shipped_policies_name_the_suite_that_ships(name: str) -> None:
    [pin] = policies.load(name).suites
    assert (pin.name, pin.digest, pin.source) == ("mini", MINI.digest, None)
    assert pin.items_at_least.keys() == set(dimensions())
    # What `comptrust run` asks is enough.
    half = content.items(suites.load("mini", limit=0.5))
    assert [name for name, least in pin.items_at_least.items() if half[name] < least] == []


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ({"base_model": "m", "revision": "r"}, "pass"),
        ({"base_model": "n", "revision": "r"}, "inconclusive"),
        ({"revision": "other"}, "inconclusive"),
        ({"checkpoint": digests.of_value({"model.safetensors": "dense"})}, "pass"),
        ({"checkpoint": DIGEST}, "inconclusive"),
    ],
)
def test_a_name_is_bound_to_its_dense_source(source: Any, outcome: str) -> None:
    sources = {"prod-*": dense.DenseSource(**source)}
    rules = dataclasses.replace(policy(MaxDrop()), stages=False, sources=sources)
    for model, expected in (("prod-llm", outcome), ("m", "inconclusive"), ("", "inconclusive")):
        verdict = judge(dataclasses.replace(drop(320), model=model), rules)
        assert verdict.outcome == expected
        [finding] = [one for one in verdict.findings if one.rule == "source"]
        assert ("but not m. Add it to `sources:`" in finding.reason) == (model == "m")
    free = judge(dataclasses.replace(drop(320), model="m"), dataclasses.replace(rules, sources={}))
    assert free.outcome == "pass" and "source" not in [one.rule for one in free.findings]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("suites: [{name: mini}]", "digest"),
        ("suites: [{name: mini, digest: abc}]", "digest"),
        (f"suites: [{{name: m, digest: {DIGEST}, items_at_least: {{etics: 5}}}}]", "'ethics'"),
        (f"suites: [{{name: m, digest: {DIGEST}, items_at_least: {{mmlu: 0}}}}]", "mmlu"),
        ("sources: {prod: {base_model: m}}", "a revision or a checkpoint digest"),
        ("sources: {prod: {checkpoint: 1}}", "checkpoint"),
    ],
)
def test_bad_pins_are_refused(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"name: x\nrules: [{{rule: complete}}]\n{line}\n")
    with pytest.raises(UserError, match=message):
        policies.load(str(path))


def test_pins_are_part_of_a_policys_digest_but_not_where_data_lies(tmp_path: Path) -> None:
    texts = (
        "",
        f"suites: [{{name: m, digest: {DIGEST}}}]\n",
        f"suites: [{{name: m, digest: {DIGEST}, source: 'decodingtrust:/a'}}]\n",
        "sources: {prod: {revision: r}}\n",
    )
    path, found = tmp_path / "p.yaml", []
    for text in texts:
        path.write_text(f"name: x\nrules: [{{rule: complete}}]\n{text}")
        found.append(policies.load(str(path)).digest)
    assert found[1] == found[2] and len(set(found)) == 3
