"""Every family answers as the plain model does: one prompt at a time, by transformers' `generate`,
and options by the log-likelihoods of whole rows.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
import transformers

from comptrust.models.backends.hf import Hf
from comptrust.models.inference.choice import ByLength, choose
from comptrust.models.inference.engine import Engine
from comptrust.models.inference.generated import Generated
from comptrust.models.inference.packed import Packed
from comptrust.models.inference.padded import Padded
from comptrust.models.inference.tokens import span
from comptrust.records import Choice, Generation, Message, Prompt, Sampling
from tests.support import families

Model: TypeAlias = transformers.PreTrainedModel

ROUNDING = 1e-4
"""Largest difference of log-likelihoods."""
BEGINNING = "Nine words that many of the prompts here share. Then: "
LENGTHS = (0, 5, 40, 90)
"""Letters after the beginning; windows are 32 or 64 tokens long."""
CHOICES = tuple(Choice(text=text, continuation=text) for text in (" yes", " no", " no way"))

PADDED = {
    *("mistral_window", "qwen2_window", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text"),
    *("vaultgemma", "stablelm", "stablelm_parallel", "olmo3", "cohere2", "exaone4", "nemotron"),
    *("gptj", "codegen", "falcon", "falcon40b", "falcon_rw", "gpt_neo", "biogpt", "xglm", "bloom"),
    *("mpt", "gpt_oss", "llama4_text", "diffllama", "hrm_text", "gemma3", "gemma4", "llama4"),
    *("deepseek_v2", "deepseek_v3", "glm4_moe_lite", "minicpm3", "youtu"),
}
"""Windows, chunks, ALiBi and attention that cannot be replaced; the others are packed."""
BATCHED = {
    *("qwen3_next", "qwen3_5_text", "qwen3_5", "olmo_hybrid", "nemotron_h", "lfm2", "lfm2_moe"),
    *("falcon_h1", "jamba", "bamba", "granitemoehybrid", "mamba", "mamba2", "falcon_mamba"),
}
"""States besides keys and values: nothing is shared."""
ALONE = {"recurrent_gemma", "rwkv", "minimax"}
"""What they compute depends on padding."""
BY_LENGTH = {"llama_dynamic", "phi3_longrope"}
QUICK = ("llama_dynamic", "gpt_neo", "mpt", "deepseek_v3", "diffllama", "granitemoehybrid", "rwkv")
"""Tested with every change: one or two of each path."""


def prompts() -> list[Prompt]:
    texts = [
        *(BEGINNING + "abcdefghij" * (length // 10) + "z" * (length % 10) for length in LENGTHS),
        "Something else, " * 6,
    ]
    made = []
    for number, text in enumerate(texts):
        fields = {
            "id": str(number),
            "scenario": "a",
            "messages": (Message(role="completion", content=text),),
        }
        made.append(Prompt(dimension="text", sampling=Sampling(max_tokens=10), **fields))
        if number % 2 == 0:
            made.append(Prompt(dimension="choice", choices=CHOICES, **fields))
    return made


def load(folder: Path) -> Model:
    images = "text_config" in families.FAMILIES[folder.name][1]
    kind: Any = (
        transformers.AutoModelForImageTextToText if images else transformers.AutoModelForCausalLM
    )
    return kind.from_pretrained(folder, dtype=torch.float32).eval()


def plain_text(backend: Hf, fresh: Model, ids: list[int], prompt: Prompt) -> str:
    output = copy.deepcopy(fresh).generate(
        torch.tensor([ids]),
        max_new_tokens=prompt.sampling.max_tokens,
        do_sample=False,
        eos_token_id=sorted(backend.ends),
        pad_token_id=0,
    )
    return str(backend.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))


def plain_logliks(backend: Hf, fresh: Model, text: str) -> list[float]:
    means = []
    for choice in CHOICES:
        context, option = span(text, choice.continuation, tokenizer=backend.tokenizer)
        row = torch.tensor([context + option[:-1]])
        with torch.inference_mode():
            logits = copy.deepcopy(fresh)(row, use_cache=False).logits[0]
        chances = logits[len(context) - 1 :].log_softmax(dim=-1)
        means.append(float(chances.gather(1, torch.tensor(option)[:, None]).mean()))
    return means


def check(backend: Hf, fresh: Model, answer: Generation, prompt: Prompt) -> None:
    """Compare with a model that has computed nothing before: dynamic RoPE remembers."""
    text = backend.render(prompt)
    if prompt.choices:
        expected = plain_logliks(backend, fresh, text)
        assert answer.extra["loglik"] == pytest.approx(expected, abs=ROUNDING)
    else:
        ids = backend.tokenizer(text, add_special_tokens=False)["input_ids"]
        written = plain_text(backend, fresh, ids, prompt).removeprefix(" ")
        # a character that the length limit cuts in two is left out
        assert answer.texts[0].rstrip("\ufffd") == written.rstrip("\ufffd")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in families.FAMILIES
    ],
)
def test_answers_are_those_of_the_plain_model(name: str, tmp_path: Path) -> None:
    folder = families.build(name, tmp_path / name)
    fresh = load(folder)
    loaded = (copy.deepcopy(fresh), families.tokenizer())
    backend = Hf(folder, batch_size=5, loaded=loaded)
    engine = backend.engine
    if name in BY_LENGTH:
        assert isinstance(engine, ByLength) and engine.limit == 64
        engine = engine.fast
    kind = Padded if name in PADDED else Generated if name in BATCHED | ALONE else Packed
    assert type(engine) is kind
    assert engine.batch_size == (1 if name in ALONE else 5)
    asked = {(prompt.dimension, prompt.id): prompt for prompt in prompts()}
    answers = list(backend.answer(list(asked.values())))
    assert len(answers) == len(asked)
    for answer in answers:
        check(backend, fresh, answer, asked[answer.dimension, answer.id])


@pytest.mark.parametrize(
    ("name", "kind"), [("llama", Packed), ("mpt", Padded), ("qwen3_next", Generated)]
)
def test_rounding_to_16_bits_does_not_rule_an_engine_out(
    name: str, kind: type[Engine], tmp_path: Path
) -> None:
    model = load(families.build(name, tmp_path / name)).to(torch.bfloat16)
    engine = choose(model)(batch_size=4, ends=set())
    assert type(engine) is kind and engine.batch_size == 4
