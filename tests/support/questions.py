"""A suite of a few questions, and a model that keeps which of them it was asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from comptrust.records import Choice, Generation, Message, Prompt, Suite
from tests.support.echo import Echo

LETTERS = ("A", "B", "C", "D")
CHOICES = tuple(Choice(text=letter, continuation=f" {letter}") for letter in LETTERS)


def suite(*, seven: str = "drei mal zwei plus eins", n: int = 4) -> Suite:
    """Questions with choices, whose target is A, B, C, D in turn; their extra holds text that is
    not ASCII.
    """
    asked = [
        Prompt(
            id=f"mmlu#{index}",
            dimension="mmlu",
            scenario="mmlu",
            messages=(Message(role="user", content=f"{seven}? {index}"),),
            choices=CHOICES,
            target=LETTERS[index % 4],
            extra={"subject": "Größenlehre"},
        )
        for index in range(n)
    ]
    return Suite(name="questions", revision="1", prompts=tuple(asked), required={"mmlu": ("mmlu",)})


class Recording(Echo):
    """Echo that keeps which prompts it was asked."""

    def __init__(self, text: str | None = None) -> None:
        super().__init__(text)
        self.asked: list[str] = []

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        for prompt in prompts:
            self.asked.append(prompt.id)
            yield from super().answer([prompt])
