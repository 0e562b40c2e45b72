"""Suites of which only the items and their scenarios matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comptrust.records import Message, Prompt, Suite

ACTS = [f"act {n}" for n in range(200)]
ETHICS = {
    "zero_shot": ACTS,
    "few_shot": ACTS,
    "jailbreak/1": ACTS[:60],
    "evasive/1": [f"other {n}" for n in range(90)],
}


def of(dimension: str, scenarios: dict[str, Sequence[str]], **extra: Any) -> Suite:
    """Return a suite: scenario -> the item of each prompt."""
    prompts = tuple(
        Prompt(
            id=f"{scenario}#{n}",
            dimension=dimension,
            scenario=scenario,
            messages=(Message(role="user", content=f"{scenario} {n}"),),
            target="wrong" if dimension == "ethics" else "A",
            extra={"cluster": item, **extra},
        )
        for scenario, items in scenarios.items()
        for n, item in enumerate(items)
    )
    return Suite(name="t", revision="1", required={dimension: tuple(scenarios)}, prompts=prompts)
