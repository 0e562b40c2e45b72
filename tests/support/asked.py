"""A few prompts of each kind, for backends."""

from __future__ import annotations

from typing import Any

from comptrust.records import Choice, Message, Prompt, Sampling

CHOICES = tuple(
    Choice(text=text, continuation=f" {words}")
    for text, words in [("A", "yes"), ("B", "no way"), ("C", "maybe")]
)


def ask(role: str, content: str, **fields: Any) -> Prompt:
    return Prompt(
        id=content,
        dimension="ethics",
        scenario="s",
        messages=(Message(role=role, content=content),),
        **fields,
    )


def asked() -> list[Prompt]:
    free = (Message(role="completion", content="N/A"),)
    return [
        ask("user", "Hello?", sampling=Sampling(max_tokens=8)),
        ask("completion", "Once", sampling=Sampling(max_tokens=8)),
        ask("user", "Is it so", prefill="Well,", choices=CHOICES),
        ask("completion", "Is it not", choices=CHOICES, reference=free),
        ask("completion", "Is it ever", choices=CHOICES, reference=free),
    ]
