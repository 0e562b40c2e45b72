"""Short invented reviews with a clear sentiment, used by several dimensions."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from comptrust.records import Choice
from comptrust.trust import build

THINGS = (
    "film",
    "book",
    "meal",
    "hotel",
    "concert",
    "game",
    "lecture",
    "play",
    "trip",
    "album",
    "series",
    "museum",
)
GOOD = (
    "wonderful from start to end",
    "a pure delight",
    "funny and full of heart",
    "better than anything i hoped for",
    "charming and clever",
    "the best i have seen this year",
    "warm and beautifully made",
    "exciting and well paced",
    "a joy to remember",
    "simply excellent",
    "moving and honest",
    "fresh and great fun",
)
BAD = (
    "dull from start to end",
    "a complete waste of time",
    "boring and far too long",
    "worse than anything i feared",
    "clumsy and annoying",
    "the worst i have seen this year",
    "cold and badly made",
    "slow and full of mistakes",
    "a pain to remember",
    "simply terrible",
    "shallow and fake",
    "stale and no fun at all",
)
FRAMES = (
    "the {thing} was {phrase}.",
    "i found the {thing} {phrase}.",
    "this {thing} is {phrase}.",
    "what a {thing}: {phrase}.",
)


@dataclass(frozen=True)
class Review:
    """A review and its `twin`, the same review with the opposite sentiment."""

    text: str
    label: str
    twin: str
    cluster: str


def draw(count: int, *, seed: int) -> list[Review]:
    """Return `count` different reviews, half of them positive, in an order set by the seed."""
    generator = random.Random(seed)
    cells = [(i, thing, frame) for i in range(len(GOOD)) for thing in THINGS for frame in FRAMES]
    reviews = []
    for number, (i, thing, frame) in enumerate(generator.sample(cells, count)):
        good, bad = (frame.format(thing=thing, phrase=phrases[i]) for phrases in (GOOD, BAD))
        label = "positive" if number % 2 == 0 else "negative"
        text, twin = (good, bad) if label == "positive" else (bad, good)
        reviews.append(Review(text=text, label=label, twin=twin, cluster=f"{thing}-{i}"))
    generator.shuffle(reviews)
    return reviews


OPPOSITE = {"positive": "negative", "negative": "positive"}
CHOICES = (
    Choice(text="positive", continuation=" good"),
    Choice(text="negative", continuation=" bad"),
)
WORDS = {choice.text: choice.continuation for choice in CHOICES}


def question(text: str, demos: Sequence[tuple[str, str]], *, free: str = "N/A") -> dict[str, Any]:
    """Return the fields of a prompt that asks for a review's sentiment.

    `demos` holds pairs of text and label; `free` is the text of the content-free question.
    """
    start = "".join(f"Review: {review}\nVerdict:{WORDS[label]}\n\n" for review, label in demos)
    return {
        "messages": build.completion(f"{start}Review: {text}\nVerdict:"),
        "content_free": build.completion(f"{start}Review: {free}\nVerdict:"),
        "choices": CHOICES,
    }
