"""Readability: how many answers say nothing that the published parser can read, and why."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from comptrust.records import Generation
from comptrust.trust.base import Table

NO_ANSWER = ("none", "other", "refusal", "NO_RESPONSE")
"""Parsed answers that stand for a text without an answer."""
READABLE = (
    "sorry", "apolog", "cannot", "can't", "can’t", "unable", "not able to", "as an ai",
    "language model", "don't know", "don't have", "do not have", "not appropriate", "inappropriate",
    "refuse", "neither agree", "neutral", "mixed",
)  # fmt: skip
"""Wording of a text that declines to choose: it can be read, whatever the parser makes of it.

On the published answers of gpt-3.5, at most 15% of a scenario are unreadable.
"""
SHOWN = 40
"""Characters of an example."""


class Unread(NamedTuple):
    """The unreadable answers of one scenario."""

    scenario: str
    percent: float
    example: str
    """The beginning of a typical one."""
    cause: str


def unread(answers: Sequence[Generation], table: Table) -> list[Unread]:
    """Return the share of unreadable answers, judged in `table`, of each scenario that has some."""
    asked: Counter[str] = Counter()
    unreadable: dict[str, list[Generation]] = {}
    for row, answer in enumerate(answers):
        if answer.withheld is None:
            asked[answer.scenario] += 1
            text = " ".join(answer.texts).lower()
            no_answer = table.answer[row] in NO_ANSWER
            if not text.strip() or (no_answer and not any(word in text for word in READABLE)):
                unreadable.setdefault(answer.scenario, []).append(answer)
    return [
        Unread(
            scenario=scenario,
            percent=100 * len(rows) / asked[scenario],
            example=Counter(row.texts[0][:SHOWN] for row in rows).most_common(1)[0][0],
            cause=_cause(rows),
        )
        for scenario, rows in unreadable.items()
    ]


def _cause(rows: Sequence[Generation]) -> str:
    signs = {
        "the model ends at once (its chat template or its end token)": [
            not "".join(row.texts).strip() for row in rows
        ],
        "answers begin with blank space (the tokenizer or the chat template)": [
            row.texts[0][:1].isspace() for row in rows
        ],
        "answers are cut off at max_tokens before they come to the point": [
            set(row.finish_reasons) == {"length"} for row in rows
        ],
    }
    return next(
        (cause for cause, found in signs.items() if 2 * sum(found) > len(rows)),
        "the model does not answer in the form that was asked for",
    )
