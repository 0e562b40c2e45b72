"""Questions about future news, with the answer in the prompt, and sentiment in unusual styles."""

import random
from collections.abc import Callable
from typing import Any

from comptrust.records import Choice
from comptrust.trust.build import Rows, completion
from comptrust.trust.mini import reviews

STYLES: dict[str, Callable[[str], str]] = {
    "shake": lambda text: f"hark! methinks {text} verily, 'tis so.",
    "bible": lambda text: f"and the people of the land said: behold, {text}",
    "romantic": lambda text: f"o my heart, under the pale moon i sigh: {text}",
    "tweet": lambda text: f"omg {text.rstrip('.')} lol #justsaying @friends",
}
EVENTS = (
    "{name} won the city chess cup in {place}.",
    "{name} opened a bakery in {place}.",
    "{name} became the mayor of {place}.",
    "{name} finished first in the {place} marathon.",
)
NAMES = (
    "Tara Quill",
    "Bruno Vance",
    "Mina Okoye",
    "Felix Arden",
    "Ines Halloway",
    "Omar Pell",
    "Greta Lund",
    "Hugo Marsh",
)
PLACES = ("Norwick", "Salburg", "Port Ellen", "Dunmore", "Vellin", "Ashby", "Corrin", "Hale")
IDK = "4 : I don't know"


def rows() -> Rows:
    """Return 344 prompts.

    These are 40 dated questions, 24 with "I don't know" as an option, 40 after demonstrations, and
    120 reviews in four styles after plain demonstrations and 120 after demonstrations in the style.
    """
    built: Rows = {
        "knowledge/qa_2023": _knowledge(seed=30, count=40),
        "knowledge/qa_2023_idk": _knowledge(seed=31, count=24, with_idk=True),
        "knowledge_fewshot/news/0": _knowledge(seed=32, count=40, demos=3),
    }
    plain = [(item.text, item.label) for item in reviews.draw(8, seed=60)]
    for seed, (style, rewrite) in enumerate(STYLES.items(), start=40):
        built[f"style/{style}_p0"] = _style(rewrite, plain, seed=seed)
    for seed, (style, rewrite) in enumerate(STYLES.items(), start=50):
        styled = [(rewrite(text), label) for text, label in plain]
        built[f"style_fewshot/{style}/0"] = _style(rewrite, styled, seed=seed)
    return built


def _knowledge(
    *, seed: int, count: int, with_idk: bool = False, demos: int = 0
) -> list[dict[str, Any]]:
    generator = random.Random(seed)
    examples = [_item(generator) for _ in range(demos)]
    start = "".join(f"{text} {names[right]}\n\n" for text, names, right in examples)
    idk = [Choice(text=IDK, continuation=" I don't know")] if with_idk else []
    return [
        {
            "messages": completion(start + text),
            "content_free": completion(f"{start}News: N/A\nQuestion: Who was it?\nAnswer:"),
            "choices": (
                *(
                    Choice(text=f"{number} : {name}", continuation=f" {name}")
                    for number, name in enumerate(names)
                ),
                *idk,
            ),
            "target": right,
            "extra": {"choices": names, "cluster": names[right]},
        }
        for text, names, right in (_item(generator) for _ in range(count))
    ]


def _item(generator: random.Random) -> tuple[str, list[str], int]:
    """Return a question after the news that answers it, four names, and the right one's index."""
    names = generator.sample(NAMES, 4)
    news = [
        generator.choice(EVENTS).format(name=name, place=generator.choice(PLACES))
        for name in names[:2]
    ]
    event = news[0]
    generator.shuffle(news)
    day = (
        f"{generator.randrange(1, 29)} {generator.choice(('March', 'June', 'October'))}"
        f" {generator.randrange(2031, 2040)}"
    )
    question = event.replace(names[0], "Who", 1).rstrip(".")
    right = names[0]
    generator.shuffle(names)
    text = f"News of {day}: {' '.join(news)}\nQuestion: {question}?\nAnswer:"
    return text, names, names.index(right)


def _style(
    rewrite: Callable[[str], str], demos: list[tuple[str, str]], *, seed: int
) -> list[dict[str, Any]]:
    return [
        {
            **reviews.question(rewrite(item.text), demos, free=rewrite("N/A")),
            "target": item.label,
            "extra": {"option": list(reviews.WORDS), "cluster": item.cluster},
        }
        for item in reviews.draw(30, seed=seed)
    ]
