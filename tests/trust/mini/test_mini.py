"""The suite mini: the same everywhere, large and varied enough, and scored correctly."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from comptrust.errors import UserError
from comptrust.records import Generation, Prompt, Suite
from comptrust.trust import base, lexicons, suite
from comptrust.trust.dimensions import dimensions

RIGHT = ("adv_robustness", "ood", "adv_demonstration", "ethics", "fairness", "mmlu")
"""Dimensions whose prompts have a right answer."""
BINARY = ("adv_robustness", "adv_demonstration", "ethics", "fairness")


@pytest.fixture(scope="module")
def mini() -> Suite:
    return suite.load("mini")


def of(mini: Suite, dimension: str) -> list[Prompt]:
    return [prompt for prompt in mini.prompts if prompt.dimension == dimension]


def judged(prompt: Prompt, text: str) -> base.Outcome:
    """Judge a text as the answer to a prompt, recorded as a backend would."""
    fields = prompt.model_dump(include={"dimension", "scenario", "id", "target", "extra"})
    return base.get(prompt.dimension).judge(Generation(texts=(text,), **fields))


def one_sided(scenario: str) -> bool:
    """Return whether all prompts of a scenario have the same label, as published.

    They do under jailbreaks and evasion (wrong acts) and under backdoors (the attacker's target).
    """
    first, *rest = scenario.split("/")
    return first in ("jailbreak", "evasive") or (
        first == "backdoor" and not rest[0].endswith("_cacc")
    )


def right_text(prompt: Prompt) -> str:
    """Return the recorded text of the option that the target names."""
    if prompt.dimension == "adv_robustness":
        words = {
            number: word
            for word, number in lexicons.CLASSIFICATION[prompt.scenario.rpartition("/")[2]].items()
        }
        return words[prompt.target]
    return (
        prompt.choices[prompt.target].text if isinstance(prompt.target, int) else str(prompt.target)
    )


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
def test_every_dimension_is_large_enough_and_repeats_nothing(dimension: str, mini: Suite) -> None:
    prompts = of(mini, dimension)
    assert len(prompts) >= 150
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    counts = Counter((prompt.scenario, prompt.messages, prompt.prefill) for prompt in prompts)
    assert [key for key, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("dimension", dimensions())
def test_all_scenarios_but_the_clean_accuracy_of_backdoors_are_required(
    dimension: str, mini: Suite
) -> None:
    scenarios = {prompt.scenario for prompt in of(mini, dimension)}
    clean = {
        name for name in scenarios if any(segment.endswith("_cacc") for segment in name.split("/"))
    }
    assert set(mini.required[dimension]) == scenarios - clean
    assert bool(clean) == (dimension == "adv_demonstration")


@pytest.mark.parametrize("dimension", RIGHT)
def test_the_targets_option_alone_is_judged_right(dimension: str, mini: Suite) -> None:
    for prompt in of(mini, dimension):
        right = right_text(prompt)
        texts = [choice.text for choice in prompt.choices]
        assert texts.count(right) == 1, prompt.id
        for text in texts:
            values = judged(prompt, text).values
            correct = (
                values["prediction"] == values["label"]
                if dimension == "fairness"
                else values["correct"] == 1
            )
            assert correct == (text == right), (prompt.id, text)


@pytest.mark.parametrize("dimension", ["privacy", "stereotype"])
def test_the_first_option_leaks_or_agrees_and_the_second_does_not(
    dimension: str, mini: Suite
) -> None:
    value = {"privacy": "leak", "stereotype": "agree"}[dimension]
    for prompt in of(mini, dimension):
        bad, good = (judged(prompt, choice.text) for choice in prompt.choices)
        assert (bad.values[value], good.values[value]) == (1, 0), prompt.id
        assert bad.refusal == 0, prompt.id


@pytest.mark.parametrize("dimension", BINARY)
def test_labels_are_balanced_where_no_attack_fixes_them(dimension: str, mini: Suite) -> None:
    counts = Counter(
        prompt.target for prompt in of(mini, dimension) if not one_sided(prompt.scenario)
    )
    assert len(counts) == 2
    assert max(counts.values()) / counts.total() <= 0.55, counts


def test_an_attack_has_the_label_that_it_pushes_away_from_or_toward(mini: Suite) -> None:
    attacked = {
        (prompt.dimension, prompt.scenario, prompt.target)
        for prompt in mini.prompts
        if one_sided(prompt.scenario)
    }
    assert {(dimension, target) for dimension, _, target in attacked} == {
        ("ethics", "wrong"),
        ("adv_demonstration", "positive"),
    }


@pytest.mark.parametrize("dimension", ["ood", "mmlu"])
def test_no_place_among_the_options_is_right_too_often(dimension: str, mini: Suite) -> None:
    places = Counter(
        [choice.text for choice in prompt.choices].index(right_text(prompt))
        for prompt in of(mini, dimension)
        if len(prompt.choices) > 2
    )
    assert max(places.values()) / places.total() <= 0.35, places


@pytest.mark.parametrize("spec", ["mini:small", "mini:/some/folder"])
def test_it_takes_no_argument(spec: str) -> None:
    with pytest.raises(UserError, match="Suite mini takes no argument"):
        suite.load(spec)
