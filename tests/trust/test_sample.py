"""Samples: random, in proportion, nested, whole items, and the same everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from comptrust.records import Generation, Message, Prompt, Suite
from comptrust.trust import sample, scoring, suite
from comptrust.trust.generations import read_generations
from tests.support.items import ACTS, ETHICS, of
from tests.support.shared import SHARED

PUBLISHED = SHARED / "replay" / "gpt-3.5-turbo-0301" / "privacy.jsonl.xz"


def items(drawn: Suite) -> dict[str, set[str]]:
    """Return scenario -> items."""
    found: dict[str, set[str]] = {}
    for prompt in drawn.prompts:
        found.setdefault(prompt.scenario, set()).add(prompt.extra["cluster"])
    return found


def test_items_are_whole_and_scenarios_in_proportion() -> None:
    """Each scenario holds a quarter of the score. 200 acts are asked in two, 60 of them in three.

    So 140 acts hold 35% of it, 60 hold 40% and 90 hold 25%.
    """
    drawn = items(sample.draw(of("ethics", ETHICS), 40))
    assert {name: len(chosen) for name, chosen in drawn.items()} == {
        "zero_shot": 30,
        "few_shot": 30,
        "jailbreak/1": 16,
        "evasive/1": 10,
    }
    assert drawn["zero_shot"] == drawn["few_shot"]
    assert drawn["jailbreak/1"] == drawn["zero_shot"] & set(ACTS[:60])


def test_all_prompts_of_an_item_come_along() -> None:
    pairs = sample.draw(of("ethics", {"zero_shot": [*ACTS, *ACTS]}), 7)
    assert set(Counter(prompt.extra["cluster"] for prompt in pairs.prompts).values()) == {2}
    assert len(pairs.prompts) == 14


def test_one_question_with_many_seeds_is_many_items() -> None:
    whole = of("ethics", {"zero_shot": [f"topic {n % 4}" for n in range(400)]})
    asked = {name: (Message(role="user", content=name),) for name in items(whole)["zero_shot"]}
    repeated = [
        prompt.model_copy(update={"messages": asked[prompt.extra["cluster"]]})
        for prompt in whole.prompts
    ]
    drawn = sample.draw(whole.model_copy(update={"prompts": tuple(repeated)}), 20)
    assert len(drawn.prompts) == 20 and len(items(drawn)["zero_shot"]) == 4


def test_a_score_that_pools_all_prompts_keeps_its_proportions() -> None:
    subjects = {"anatomy": 100, "astronomy": 300, "virology": 2}
    whole = of(
        "mmlu", {name: [f"{name} {n}" for n in range(size)] for name, size in subjects.items()}
    )
    drawn = items(sample.draw(whole, 30))
    assert {name: len(chosen) for name, chosen in drawn.items()} == {
        "anatomy": 7,
        "astronomy": 23,
        "virology": 1,
    }


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    whole = suite.load("mini")
    ids: set[str] = set()
    for limit in (1, 2, 3, 5, 8, 13, 40, 1000):
        drawn = sample.draw(whole, limit)
        larger = {f"{prompt.dimension} {prompt.id}" for prompt in drawn.prompts}
        assert ids <= larger
        assert drawn.manifest().n_prompts.keys() == whole.manifest().n_prompts.keys()
        for name, counts in drawn.manifest().n_prompts.items():
            assert counts.keys() == whole.manifest().n_prompts[name].keys()
        ids = larger
    assert drawn is whole


def test_the_sample_is_the_same_on_every_machine() -> None:
    drawn = sample.draw(of("ethics", {"zero_shot": ACTS}), 5)
    assert [prompt.extra["cluster"] for prompt in drawn.prompts] == [
        "act 59",
        "act 63",
        "act 98",
        "act 127",
        "act 181",
    ]


def test_every_item_is_as_likely() -> None:
    whole = of("ethics", ETHICS)
    seen: Counter[str] = Counter()
    for seed in range(200):
        for name, chosen in items(sample.draw(whole, 40, seed=seed)).items():
            seen.update(f"{name} {item}" for item in chosen)
    # 200 draws of 14 of 140, 16 of 60 and 10 of 90: 5 standard errors.
    strata = {"zero_shot": (ACTS[60:], 14 / 140), "jailbreak/1": (ACTS[:60], 16 / 60)}
    for scenario, (members, share) in (
        strata | {"evasive/1": (ETHICS["evasive/1"], 1 / 9)}
    ).items():
        for item in members:
            assert abs(seen[f"{scenario} {item}"] / 200 - share) < 5 * np.sqrt(share / 200)


def score(rows: Sequence[Generation]) -> float:
    [result] = scoring.score(rows, suite=None, allow_partial=True)
    assert result.value is not None
    return result.value


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"no published answers at {PUBLISHED}")
def test_a_sample_of_published_answers_is_within_error_and_the_first_ones_are_not() -> None:
    """gpt-3.5 on privacy: 61,394 answers in 52 scenarios."""
    rows = {row.id: row for row in read_generations(PUBLISHED)}
    prompts = tuple(
        Prompt(
            id=row.id,
            dimension="privacy",
            scenario=row.scenario,
            messages=(Message(role="user", content=str(row.extra.get("word", row.id))),),
            target=row.target,
            extra=row.extra,
        )
        for row in rows.values()
    )
    whole = Suite(name="published", revision="1", required={"privacy": ()}, prompts=prompts)
    samples = [
        score([rows[prompt.id] for prompt in sample.draw(whole, 5200, seed=seed).prompts])
        for seed in range(2)
    ]
    counts: Counter[str] = Counter()
    first = []
    for row in rows.values():
        counts[row.scenario] += 1
        if counts[row.scenario] <= 100:
            first.append(row)
    true, error = score(list(rows.values())), 0.71  # that of 20 samples of 100
    assert true == pytest.approx(71.57, abs=0.01) and score(first) == pytest.approx(63.78, abs=0.01)
    assert samples[0] == pytest.approx(71.60, abs=0.01)
    assert max(abs(value - true) for value in samples) < 2.6 * error < abs(score(first) - true) / 4
