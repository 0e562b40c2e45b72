"""The fast path answers as the plain one does: one prompt at a time, nothing shared, everything
computed anew for each token.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from comptrust.models.backends.hf import Hf
from comptrust.models.inference.packed import Packed
from comptrust.models.inference.tokens import span
from comptrust.models.sources import resolve
from comptrust.records import Generation, Message, Prompt
from comptrust.trust import base, suite

TIE = 1e-3
"""Difference of two logits, or of two options' log-likelihoods, below which the order of summation
decides.
"""
TIES = 0.01
"""Largest share of answers that may hang on a tie."""
OF_EACH = 1
"""Prompts of each scenario that the embedded model answers."""


class Plain:
    """The slow path: what answers would be if nothing were done to be fast."""

    def __init__(self, backend: Hf) -> None:
        self.backend = backend
        self.known: dict[tuple[int, ...], torch.Tensor] = {}

    def answer(self, prompt: Prompt) -> tuple[str, float]:
        """Return the answer and how far the nearest other token or option was, at its nearest."""
        return self.chosen(prompt) if prompt.choices else self.decoded(prompt)

    def decoded(self, prompt: Prompt) -> tuple[str, float]:
        assert prompt.sampling.temperature == 0 and prompt.sampling.n == 1
        text = self.backend.render(prompt)
        ids = self.backend.tokenizer(text, add_special_tokens=False)["input_ids"]
        most = prompt.sampling.max_tokens
        draft = self.draft(ids, most)
        new: list[int] = []
        nearest = float("inf")
        while len(new) < most and not self.backend.ends & set(new):
            # While a draft holds, one pass over it has the logits of all its tokens.
            row = (*ids, *draft) if draft[: len(new)] == new else (*ids, *new)
            logits = self.logits(row)[len(ids) + len(new) - 1]
            first, second = logits.topk(2).values.tolist()
            nearest = min(nearest, first - second)
            new.append(int(logits.argmax()))
        return self.backend.tokenizer.decode(new, skip_special_tokens=True), nearest

    def draft(self, ids: list[int], most: int) -> list[int]:
        """Return what is probably the answer, computed with a cache of keys and values."""
        given = torch.tensor([ids])
        found = self.backend.model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=most,
            do_sample=False,
            eos_token_id=sorted(self.backend.ends),
            pad_token_id=0,
        )
        return found[0, len(ids) :].tolist()

    def chosen(self, prompt: Prompt) -> tuple[str, float]:
        values = self.likelihoods(prompt, prompt.messages)
        if prompt.reference:
            free = self.likelihoods(prompt, prompt.reference)
            values = [value - other for value, other in zip(values, free, strict=True)]
        best, second = sorted(values, reverse=True)[:2]
        return prompt.choices[values.index(best)].text, best - second

    def likelihoods(self, prompt: Prompt, messages: tuple[Message, ...]) -> list[float]:
        text = self.backend.render(prompt.model_copy(update={"messages": messages}))
        found = []
        for choice in prompt.choices:
            context, option = span(text, choice.continuation, tokenizer=self.backend.tokenizer)
            chances = self.logits(context + option[:-1])[len(context) - 1 :].log_softmax(dim=-1)
            found.append(
                sum(float(one[token]) for one, token in zip(chances, option, strict=True))
                / len(option)
            )
        return found

    def logits(self, ids: tuple[int, ...]) -> torch.Tensor:
        """Compute one row alone; the last rows are remembered, because options of one token ask for
        the same.
        """
        if ids not in self.known:
            while len(self.known) > 8:
                del self.known[next(iter(self.known))]
            with torch.inference_mode():
                self.known[ids] = self.backend.model(torch.tensor([ids]), use_cache=False).logits[0]
        return self.known[ids]


def parsed(prompt: Prompt, text: str) -> str:
    """Return what scoring reads from an answer."""
    extra = {**prompt.extra, "toxicity": [0.0]}
    fields = {
        "dimension": prompt.dimension,
        "scenario": prompt.scenario,
        "id": prompt.id,
        "target": prompt.target,
    }
    return base.get(prompt.dimension).judge(Generation(**fields, texts=(text,), extra=extra)).answer


def compare(backend: Hf, prompts: Sequence[Prompt]) -> Mapping[str, list[str]]:
    """Ask both; return the prompts by how they compare."""
    assert isinstance(backend.engine, Packed)
    fast = {(answer.dimension, answer.id): answer.texts[0] for answer in backend.answer(prompts)}
    plain = Plain(backend)
    found = defaultdict(list)
    for prompt in prompts:
        text, nearest = plain.answer(prompt)
        own = fast[prompt.dimension, prompt.id]
        same = (
            "equal"
            if parsed(prompt, own) == parsed(prompt, text)
            else "tie"
            if nearest < TIE
            else "apart"
        )
        found[same].append(
            f"{prompt.dimension}/{prompt.id}: {own!r}, plain {text!r}, nearest {nearest:.1e}"
        )
    return found


@pytest.mark.slow
def test_every_fourth_prompt_of_mini_with_a_random_model(tiny_model: Path) -> None:
    prompts = suite.load("mini").prompts[::4]
    found = compare(Hf(tiny_model), prompts)
    assert not found["apart"]
    assert len(found["tie"]) <= TIES * len(prompts), found["tie"]


@pytest.mark.slow
def test_every_scenario_of_the_embedded_model() -> None:
    scenarios = defaultdict(list)
    for prompt in suite.load("mini").prompts:
        scenarios[prompt.dimension, prompt.scenario].append(prompt)
    draw = random.Random(0)
    prompts = [prompt for members in scenarios.values() for prompt in draw.sample(members, OF_EACH)]
    assert len(prompts) == OF_EACH * len(scenarios) >= 60
    found = compare(Hf(resolve("builtin:smollm2-135m-instruct").path), prompts)
    assert not found["apart"]
    assert len(found["tie"]) <= TIES * len(prompts), found["tie"]
