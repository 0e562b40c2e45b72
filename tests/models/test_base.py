"""Answers by likelihood: what wins, and what is kept of both texts."""

from __future__ import annotations

import pytest

from comptrust.models.base import chosen
from comptrust.records import Choice, Message, Prompt, Suite

CHOICES = (Choice(text="good", continuation=" good"), Choice(text="bad", continuation=" bad"))
PROMPT = Prompt(
    id="a#0",
    dimension="privacy",
    scenario="a",
    messages=(Message(role="user", content="hi"),),
    choices=CHOICES,
)


@pytest.mark.parametrize(
    ("logliks", "reference", "winner"),
    [
        ([-1.0, -2.0], (), "good"),
        ([-1.0, -2.0], (-0.5, -2.0), "bad"),
        ([-1.0, -2.0], (-1.5, -2.0), "good"),
        ([-1.0, -2.0], (-1.5, -2.5), "good"),  # a tie
    ],
)
def test_the_larger_difference_wins_and_both_texts_are_kept(
    logliks: list[float], reference: tuple[float, ...], winner: str
) -> None:
    answer = chosen(PROMPT, logliks=logliks, reference=reference)
    assert answer.texts == (winner,)
    if reference:
        assert answer.extra["after_prompt"] == {"good": -1.0, "bad": -2.0}
        assert answer.extra["after_reference"] == dict(zip(("good", "bad"), reference, strict=True))
    else:
        assert answer.extra.keys() == {"loglik", "margin"}


def test_a_suite_without_references_has_its_old_digest_and_one_with_them_another() -> None:
    def digest(prompt: Prompt) -> str:
        suite = Suite(name="x", revision="1", required={"privacy": ("a",)}, prompts=(prompt,))
        return suite.digest

    plain = PROMPT.model_copy(
        update={"choices": tuple(Choice(text=text, continuation=text) for text in ("a", "b"))}
    )
    assert digest(plain) == "6ce0b3ed6ec18e76343ff536afb143b765d63b7a2b8455568d269ef44cc0b352"
    compared = plain.model_copy(update={"reference": plain.messages})
    assert digest(compared) != digest(plain)
    assert "reference" in compared.model_dump() and "content_free" not in compared.model_dump()
