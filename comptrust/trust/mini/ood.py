"""Questions about future news, with the answer in the prompt, and sentiment in unusual styles.

Two questions about the same news, or a positive and a negative review in the same style, make a
pair.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from comptrust.records import Choice
from comptrust.trust import build
from comptrust.trust.build import Rows
from comptrust.trust.mini import reviews
from comptrust.trust.mini.reviews import Review

STYLES: dict[str, Callable[[str], str]] = {
    "shake": lambda text: f"hark! methinks {text} verily, 'tis so.",
    "bible": lambda text: f"and the people of the land said: behold, {text}",
    "romantic": lambda text: f"o my heart, under the pale moon i sigh: {text}",
    "tweet": lambda text: f"omg {text.rstrip('.')} lol #justsaying @friends",
}
EVENTS = (
    "{name} won the chess cup in {place}.",
    "{name} opened a bakery in {place}.",
    "{name} became the mayor of {place}.",
    "{name} finished first in the {place} marathon.",
    "{name} bought the old castle of {place}.",
    "{name} painted the bridge of {place}.",
)
FIRST = (
    *("Tara", "Bruno", "Mina", "Felix", "Ines", "Omar", "Greta", "Hugo", "Lena", "Oscar", "Priya"),
    *("Ruth", "Simon", "Tomas", "Vera", "Wanda", "Yusuf", "Zoe", "Anton", "Bella", "Carl", "Diana"),
)
LAST = (
    *("Quill", "Vance", "Okoye", "Arden", "Halloway", "Pell", "Lund", "Marsh", "Novak", "Ortega"),
    *("Price", "Reyes", "Stone", "Turner", "Ueda", "Voss", "Walsh", "Young", "Ames", "Birch"),
)
PLACES = ("Norwick", "Salburg", "Port Ellen", "Dunmore", "Vellin", "Ashby", "Corrin", "Hale")
ITEMS = 104
"""Items per part of the score."""


def rows() -> Rows:
    """Return 416 pairs, 104 per part.

    These are questions, plain and after demonstrations, and reviews in four styles, after plain
    demonstrations and after demonstrations in the style. No name and no review occurs twice.
    """
    generator = random.Random(30)
    names = [f"{first} {last}" for first in FIRST for last in LAST]
    generator.shuffle(names)
    unused = iter(names)
    start = "".join(
        f"{text} {answer}\n\n"
        for text, answer in (_news(next(unused), next(unused), generator)[0] for _ in range(3))
    )
    items = iter(reviews.draw(8 + 2 * ITEMS, seed=40))
    plain = reviews.examples([next(items) for _ in range(8)])
    each = range(ITEMS // len(STYLES))
    return {
        "knowledge/qa_2023": _knowledge(unused, generator, start=""),
        "knowledge_fewshot/news/0": _knowledge(unused, generator, start=start),
        **{
            f"style/{style}_p0": _style([next(items) for _ in each], rewrite, plain)
            for style, rewrite in STYLES.items()
        },
        **{
            f"style_fewshot/{style}/0": _style(
                [next(items) for _ in each],
                rewrite,
                [(rewrite(text), label) for text, label in plain],
            )
            for style, rewrite in STYLES.items()
        },
    }


def _knowledge(unused: Any, generator: random.Random, *, start: str) -> list[dict[str, Any]]:
    pairs = []
    for number in range(ITEMS):
        names = [next(unused), next(unused)]
        first, second = (
            build.completion(start + text) for text, _ in _news(names[0], names[1], generator)
        )
        fields, answer = build.pair(
            first,
            second,
            choices=(
                Choice(text=f"0 : {names[0]}", continuation=f" {names[0]}"),
                Choice(text=f"1 : {names[1]}", continuation=f" {names[1]}"),
            ),
            cluster=" and ".join(names),
            number=number,
        )
        fields["extra"]["choices"] = names
        pairs.append(fields | {"target": int(answer[0])})
    return pairs


def _news(
    first: str, second: str, generator: random.Random
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return a question about either person, after the news about both, with the answer."""
    names = (first, second)
    reports = [
        event.format(name=name, place=generator.choice(PLACES))
        for name, event in zip(names, generator.sample(EVENTS, 2), strict=True)
    ]
    month, year = generator.choice(("March", "June", "October")), generator.randrange(2031, 2040)
    news = " ".join(generator.sample(reports, 2))
    date = f"{generator.randrange(1, 29)} {month} {year}"
    one, other = (
        (
            f"News of {date}: {news}\n"
            f"Question: {report.replace(name, 'Who').rstrip('.')}?\nAnswer:",
            name,
        )
        for name, report in zip(names, reports, strict=True)
    )
    return one, other


def _style(
    items: Sequence[Review], rewrite: Callable[[str], str], demos: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    pairs = []
    for number, item in enumerate(items):
        fields, answer = build.pair(
            *(reviews.ask(rewrite(text), demos) for text in (item.positive, item.negative)),
            choices=reviews.CHOICES,
            cluster=item.cluster,
            number=number,
        )
        fields["extra"]["option"] = list(reviews.WORDS)
        pairs.append(fields | {"target": answer})
    return pairs
