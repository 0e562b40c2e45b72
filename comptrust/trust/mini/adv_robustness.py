"""Sentiment of attacked reviews: swapped letters, look-alike characters, a distracting sentence.

An attacked positive review is compared with its negative twin under the same attack.
"""

import random
from collections.abc import Callable

from comptrust.trust import build
from comptrust.trust.build import Rows
from comptrust.trust.mini import reviews

LOOKALIKES = str.maketrans({"a": "а", "e": "е", "o": "о", "i": "і"})
"""Latin letters to Cyrillic ones that look the same."""
DISTRACTIONS = (
    "the weather was neither good nor bad.",
    "some people said the opposite.",
    "my cousin bought a blue bag.",
    "we took the bus at noon.",
)
ITEMS = 136
"""Items per attack."""


def rows() -> Rows:
    """Return 408 pairs, 136 per attack, all after the same eight clean demonstrations."""
    items = iter(reviews.draw(8 + ITEMS * len(ATTACKS), seed=21))
    demos = reviews.examples([next(items) for _ in range(8)])
    built: Rows = {}
    for attack, change in ATTACKS.items():
        built[f"{attack}/sst2"] = []
        for number in range(ITEMS):
            item = next(items)
            # The same attack on both: the same words, the same distraction.
            texts = [
                change(text, random.Random(f"{attack}{number}"))
                for text in (item.positive, item.negative)
            ]
            fields, answer = build.pair(
                *(reviews.ask(text, demos) for text in texts),
                choices=reviews.CHOICES,
                cluster=item.cluster,
                number=number,
            )
            fields["extra"] |= {"task": "sst2", "base": attack}
            built[f"{attack}/sst2"].append(fields | {"target": int(answer == "positive")})
    return built


def typo(text: str, generator: random.Random) -> str:
    """Swap two inner letters in every other word of four letters or more."""
    changed = []
    for number, word in enumerate(text.split(" ")):
        if len(word) >= 4 and number % 2:
            at = generator.randrange(1, len(word) - 2)
            word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        changed.append(word)
    return " ".join(changed)


def homoglyph(text: str, generator: random.Random) -> str:
    """Replace letters by look-alikes in one word out of three."""
    return " ".join(
        word.translate(LOOKALIKES) if generator.random() < 1 / 3 else word
        for word in text.split(" ")
    )


def distractor(text: str, generator: random.Random) -> str:
    """Add a sentence that says nothing about what is reviewed."""
    return f"{text} {generator.choice(DISTRACTIONS)}"


ATTACKS: dict[str, Callable[[str, random.Random], str]] = {
    "typo": typo,
    "homoglyph": homoglyph,
    "distractor": distractor,
}
