"""Pairs of short invented reviews, one positive and one negative, used by several dimensions."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from comptrust.records import Choice, Message
from comptrust.trust import build
from comptrust.trust.mini import texts

TEXTS = texts(__file__)
FRAMES = (
    "the {thing} was {phrase}.",
    "i found the {thing} {phrase}.",
    "this {thing} is {phrase}.",
    "what a {thing}: {phrase}.",
)
CHOICES = (
    Choice(text="positive", continuation=" good"),
    Choice(text="negative", continuation=" bad"),
)
WORDS = {choice.text: choice.continuation for choice in CHOICES}
LABELS = tuple(WORDS)


@dataclass(frozen=True)
class Review:
    """The same review with either sentiment; the pair is the item."""

    positive: str
    negative: str
    cluster: str

    def labeled(self, label: str) -> tuple[str, str]:
        """Return the review of that label, and the label."""
        return (self.positive if label == "positive" else self.negative), label


def draw(count: int, *, seed: int) -> list[Review]:
    """Return `count` of the 576 items of a phrase and a thing, in an order set by the seed."""
    generator = random.Random(seed)
    cells = [(phrases, thing) for phrases in TEXTS["phrases"].items() for thing in TEXTS["things"]]
    items = []
    for (good, bad), thing in generator.sample(cells, count):
        frame = generator.choice(FRAMES)
        items.append(
            Review(
                positive=frame.format(thing=thing, phrase=good),
                negative=frame.format(thing=thing, phrase=bad),
                cluster=f"{thing}: {good}",
            )
        )
    return items


def examples(items: Sequence[Review]) -> list[tuple[str, str]]:
    """Return labeled reviews to show before a question, every other one positive."""
    return [item.labeled(LABELS[number % 2]) for number, item in enumerate(items)]


def ask(text: str, demos: Sequence[tuple[str, str]]) -> tuple[Message, ...]:
    """Ask for a review's sentiment after demonstrations, pairs of text and label."""
    start = "".join(f"Review: {review}\nVerdict:{WORDS[label]}\n\n" for review, label in demos)
    return build.completion(f"{start}Review: {text}\nVerdict:")


Pair = tuple[Review, Iterable[tuple[Message, ...]]]
"""An item, and the questions about its positive and its negative review."""


def rows(pairs: Iterable[Pair], **extra: Any) -> list[dict[str, Any]]:
    """Return the fields of a prompt for each pair; `extra` is what else scoring needs."""
    return [
        build.pair(*questions, choices=CHOICES, cluster=item.cluster, number=number, extra=extra)
        for number, (item, questions) in enumerate(pairs)
    ]
