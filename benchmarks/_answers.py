"""Evaluations of any size without a model: the suite mini, its prompts repeated under new ids,
answered by chance.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from comptrust.models.base import Backend, chosen, generation
from comptrust.records import Generation, Prompt, Suite
from comptrust.trust import suite as suites
from comptrust.trust.run import evaluate


class Chance(Backend):
    """Picks the right option four times in five, differently for each seed; texts are all right."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def describe(self) -> dict[str, str]:
        """Return provenance."""
        return {"backend": "chance", "template": "none"}

    def render(self, prompt: Prompt) -> str:
        """Return the messages as lines."""
        return "".join(f"{message.role}: {message.content}\n" for message in prompt.messages)

    def answer(self, prompts: list[Prompt]) -> Iterator[Generation]:  # type: ignore[override]
        """Answer every prompt in order."""
        chance = random.Random(self.seed)
        for prompt in prompts:
            right = str(prompt.target)
            options = [choice.text for choice in prompt.choices]
            if options:
                wrong = right in options and chance.random() < 0.2
                yield chosen(prompt, logliks=[float((text == right) != wrong) for text in options])
            else:
                texts = [right] * prompt.sampling.n
                yield generation(prompt, texts=texts, finish_reasons=["stop"] * len(texts))


def enlarged(dimensions: list[str] | None, *, prompts: int) -> Suite:
    """Return the suite mini with so many prompts a dimension, chosen evenly from all or, where
    there are fewer, repeated.
    """
    mini = suites.load("mini", dimensions=dimensions)
    found: list[Prompt] = []
    for name in mini.required:
        members = [prompt for prompt in mini.prompts if prompt.dimension == name]
        apart = max(1.0, len(members) / prompts)
        for number in range(prompts):
            one, copy = members[int(number * apart) % len(members)], number // len(members)
            numbered = {
                key: f"{one.extra[key]}.{copy}"
                for key in ("cluster", "template")
                if key in one.extra
            }
            found.append(
                one.model_copy(update={"id": f"{one.id}.{copy}", "extra": one.extra | numbered})
            )
    return mini.model_copy(update={"prompts": tuple(found)})


def write(folder: Path, asked: Suite, *, seed: int) -> Path:
    """Answer a suite by chance and return the scorecard file."""
    evaluate(Chance(seed), asked, out=folder, checkpoint_digest=f"{seed:064x}")
    return folder / "scorecard.json"
