"""Sentiment of attacked reviews: swapped letters, look-alike characters, a distracting sentence."""

import random
from collections.abc import Callable

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


def rows() -> Rows:
    """Return 480 prompts, 160 per attack, all after the same eight clean demonstrations."""
    demos = [(item.text, item.label) for item in reviews.draw(8, seed=60)]
    built: Rows = {}
    for seed, (attack, change) in enumerate(ATTACKS.items(), start=21):
        generator = random.Random(seed)
        built[f"{attack}/sst2"] = [
            {
                **reviews.question(change(item.text, generator), demos),
                "target": int(item.label == "positive"),
                "extra": {"task": "sst2", "base": attack, "cluster": item.cluster},
            }
            for item in reviews.draw(160, seed=seed)
        ]
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
