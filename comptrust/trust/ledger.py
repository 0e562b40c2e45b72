"""Answers as they came: which kept ones count, in which order they came, and a chain over them.

A secret marks each answer when it is made, so nobody else can put answers into a cache.
"""

import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from comptrust import digests
from comptrust.errors import UserError
from comptrust.records import Generation
from comptrust.trust.stored import ANSWERED, prompt_of

ADDED = ("toxicity",)
"""Fields of an answer that a classifier adds when all of them are there."""


class Ledger:
    """Marks answers as they are made, and remembers in which order they came, and when."""

    def __init__(self, secret: bytes | None = None, *, seal: str = "") -> None:
        """Without a secret every kept answer counts. `seal` is part of each mark."""
        self.seal = seal
        self._secret, self._owner = secret, ""
        self.began = time.time()
        """When the first of the answers was made."""
        self.order: dict[str, tuple[int, ...]] = {}
        """Dimension -> its rows in the order in which they came."""

    @classmethod
    def of_rows(cls, answers: Mapping[str, Sequence[Generation]]) -> Self:
        """Return a ledger of answers in the order of their files, which were made elsewhere."""
        ledger = cls()
        ledger.order = {name: tuple(range(len(rows))) for name, rows in answers.items()}
        return ledger

    def open(self, owner: Mapping[str, str]) -> None:
        """Name the model, the suite and the engine that the answers are about to come from."""
        self._owner = digests.of_value([self.seal, dict(owner)])

    def marked(self, line: str) -> str:
        """Return a line for an answer that was made now, with its mark if there is a secret."""
        if self._secret is None:
            return line
        now = f"{time.time():.3f}"
        return f"{line}\t{now} {self._mark(line, now)}"

    def unmarked(self, line: str) -> str | None:
        """Return the answer of a kept line, None if it has to be made again."""
        # JSON escapes tabs, so the first one ends the answer.
        text, _, end = line.partition("\t")
        made, _, mark = end.partition(" ")
        if self._secret is None:
            return text
        if not hmac.compare_digest(mark.encode(), self._mark(text, made).encode()):
            return None
        self.began = min(self.began, float(made))
        return text

    def _mark(self, line: str, made: str) -> str:
        message = f"{self._owner}\n{made}\n{line}".encode()
        return hmac.digest(self._secret or b"", message, "sha256").hex()


def head(
    answers: Mapping[str, Sequence[Generation]],
    order: Mapping[str, tuple[int, ...]],
    digest: Callable[[Any], str] = digests.of_value,
) -> str:
    """Return the head of the chain over all answers in the order in which they came.

    A link is the SHA-256 of the one before, the digest of the prompt and that of the answer.
    Raises UserError if the order does not name each row once.
    """
    link = ""
    if order.keys() != answers.keys():
        raise UserError("The order of the answers is of other dimensions than the answers.")
    for dimension, places in order.items():
        rows = answers[dimension]
        if sorted(places) != list(range(len(rows))):
            raise UserError(
                f"The order of the {dimension} answers does not name each of them once."
            )
        for row in (rows[place] for place in places):
            link = digests.of_text(f"{link}{digest(prompt_of(row))}{digest(_given(row))}")
    return link


def of_prompt(answer: Generation) -> str:
    """Digest what was asked, as far as an answer shows it itself."""
    return digests.of_value(prompt_of(answer))


def _given(answer: Generation) -> list[Any]:
    given = {key: answer.extra[key] for key in ANSWERED if key in answer.extra and key not in ADDED}
    return [answer.texts, answer.reasoning, answer.finish_reasons, given]
