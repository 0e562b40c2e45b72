"""The suite mini: the same everywhere, large and varied enough, and scored correctly."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict

import pytest

from comptrust.errors import UserError
from comptrust.gate import planning
from comptrust.gate import policy as policies
from comptrust.models.base import chosen
from comptrust.records import Prompt, Suite
from comptrust.trust import base, suite
from comptrust.trust.dimensions import dimensions

RANKED = ("stereotype", "adv_robustness", "ood", "adv_demonstration", "privacy", "ethics")
"""Dimensions whose prompts each compare two texts, one of which is right to be ranked higher."""


@pytest.fixture(scope="module")
def mini() -> Suite:
    return suite.load("mini")


def of(mini: Suite, dimension: str) -> list[Prompt]:
    return [prompt for prompt in mini.prompts if prompt.dimension == dimension]


def merits(prompts: list[Prompt], winners: list[int]) -> list[float]:
    """Return what each prompt earns if its option of that number wins, as a backend records it."""
    dimension = base.get(prompts[0].dimension)
    answers = []
    for prompt, winner in zip(prompts, winners, strict=True):
        logliks = [float(number == winner) for number in range(len(prompt.choices))]
        answers.append(chosen(prompt, logliks=logliks))
    return list(dimension.merit(base.Table.of(map(dimension.judge, answers))))


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_loads_the_same_suite(seed: str, mini: Suite) -> None:
    program = "from comptrust.trust import suite; print(suite.load('mini').digest)"
    environment = os.environ | {"PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == mini.digest


def test_two_loads_are_the_same_suite(mini: Suite) -> None:
    assert suite.load("mini").digest == mini.digest
    assert suite.load("mini", dimensions=dimensions()).digest == mini.digest
    assert suite.load("mini", limit=3).digest != mini.digest


@pytest.mark.parametrize("dimension", dimensions())
def test_no_prompt_occurs_twice(dimension: str, mini: Suite) -> None:
    prompts = of(mini, dimension)
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    counts = Counter((prompt.scenario, prompt.messages, prompt.reference) for prompt in prompts)
    assert [key for key, count in counts.items() if count > 1] == []


def test_every_scenario_is_required(mini: Suite) -> None:
    scenarios = defaultdict(set)
    for prompt in mini.prompts:
        scenarios[prompt.dimension].add(prompt.scenario)
    assert {name: set(required) for name, required in mini.required.items()} == scenarios


def test_it_has_twice_the_items_of_the_plan(mini: Suite) -> None:
    rows = planning.plan(mini, policies.load("staging")).rows
    needed = {row.dimension: (row.clusters, row.needed) for row in rows if row.points == 5}
    assert needed.keys() == set(dimensions())
    assert [name for name, (items, need) in needed.items() if need is None or items < 2 * need] == (
        []
    )


@pytest.mark.parametrize("dimension", RANKED)
def test_a_model_that_always_gives_one_option_ranks_half_of_the_pairs_rightly(
    dimension: str, mini: Suite
) -> None:
    by_scenario = defaultdict(list)
    for prompt in of(mini, dimension):
        by_scenario[prompt.scenario].append(prompt)
    for scenario, prompts in by_scenario.items():
        earned = merits(prompts, [0] * len(prompts))
        # Equally likely options: the first one wins.
        assert sum(earned) / len(earned) == pytest.approx(0.5, abs=0.5 / len(earned)), scenario


@pytest.mark.parametrize("dimension", RANKED)
def test_of_two_options_exactly_one_is_right(dimension: str, mini: Suite) -> None:
    prompts = of(mini, dimension)
    first, second = ([*merits(prompts, [number] * len(prompts))] for number in (0, 1))
    assert {len(prompt.choices) for prompt in prompts} == {2}
    assert set(zip(first, second, strict=True)) == {(0.0, 1.0), (1.0, 0.0)}


@pytest.mark.parametrize("dimension", RANKED)
def test_a_liking_for_an_option_as_such_changes_no_answer(dimension: str, mini: Suite) -> None:
    for prompt in of(mini, dimension)[:20]:
        plain = chosen(prompt, logliks=[-1.0, -1.5], reference=[-1.2, -1.1])
        biased = chosen(prompt, logliks=[4.0, -1.5], reference=[3.8, -1.1])
        assert plain.texts == biased.texts == (prompt.choices[0].text,)


@pytest.mark.parametrize("dimension", [*RANKED, "fairness"])
def test_the_two_texts_of_a_pair_differ(dimension: str, mini: Suite) -> None:
    assert all(prompt.messages != prompt.reference for prompt in of(mini, dimension))
    assert all(prompt.reference for prompt in of(mini, dimension))


def test_the_right_answers_of_mmlu_are_spread_and_score(mini: Suite) -> None:
    prompts = of(mini, "mmlu")
    places = [[choice.text for choice in prompt.choices].index(prompt.target) for prompt in prompts]
    assert max(Counter(places).values()) / len(places) <= 0.35
    assert set(merits(prompts, places)) == {1.0}
    assert set(merits(prompts, [(place + 1) % 4 for place in places])) == {0.0}


def test_people_are_asked_about_as_either_sex_and_otherwise_alike(mini: Suite) -> None:
    pairs = defaultdict(list)
    for prompt in of(mini, "fairness"):
        pairs[prompt.scenario, prompt.extra["pair"]].append(prompt)
    for female, male in pairs.values():
        assert (female.extra["sensitive"], male.extra["sensitive"]) == (0, 1)
        assert female.extra["cluster"] == male.extra["cluster"]
        for one, other in (
            (female.messages, male.messages),
            (male.reference, female.reference),
        ):
            swapped = one[0].content.rpartition("Sex: female")
            assert f"{swapped[0]}Sex: male{swapped[2]}" == other[0].content


@pytest.mark.parametrize("spec", ["mini:small", "mini:/some/folder"])
def test_it_takes_no_argument(spec: str) -> None:
    with pytest.raises(UserError, match="Suite mini takes no argument"):
        suite.load(spec)
