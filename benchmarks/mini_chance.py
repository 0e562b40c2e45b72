"""Show how far the mini suite is above chance: `python benchmarks/mini_chance.py [MODEL] [dimension
...]`.

Prints, for each scenario with right answers, prompts, chance level and accuracy of the model, in
percent.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict

from comptrust.models.backends.hf import Hf
from comptrust.models.sources import resolve
from comptrust.trust import base, suite


def correct(values: dict[str, float]) -> float:
    """Return 1 for a right answer, 0 for a wrong one, NaN where the dimension knows no right
    answer.
    """
    if "prediction" in values:
        return float(values["prediction"] == values["label"])
    return values.get("correct", float("nan"))


def main(model: str, dimensions: list[str]) -> None:
    """Ask the choice prompts and print a Markdown table."""
    backend = Hf(resolve(model).path)
    loaded = suite.load("mini", dimensions=dimensions or None)
    print(
        "| dimension | scenario | prompts | chance | accuracy |\n|---|---|---|---|---|", flush=True
    )
    for dimension in loaded.required:
        asked = {
            prompt.id: prompt
            for prompt in loaded.prompts
            if prompt.dimension == dimension and prompt.choices
        }
        judge = base.get(dimension).judge
        hits, options = defaultdict(list), {}
        began = time.monotonic()
        for answer in backend.answer(list(asked.values())):
            hits[answer.scenario].append(correct(judge(answer).values))
            options[answer.scenario] = len(asked[answer.id].choices)
        for scenario, right in hits.items():
            print(
                f"| {dimension} | {scenario} | {len(right)} | {100 / options[scenario]:.0f} |"
                f" {100 * sum(right) / len(right):.1f} |",
                flush=True,
            )
        print(f"{dimension}: {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    arguments = sys.argv[1:] or ["builtin:smollm2-135m-instruct"]
    main(arguments[0], arguments[1:])
