"""Asking a local model: an answer depends on its prompt alone, and option likelihoods are those of a direct computation."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.models.backends.hf import Hf
from comptrust.records import Choice, Message, Prompt, Sampling

SHARED = "These opening words are shared by all the prompts. "
SAMPLED = {"temperature": 1.0, "top_p": 0.9, "n": 3, "seed": 1}
CHOICES = tuple(Choice(text=text, continuation=f" {words}") for text, words in [("A", "yes"), ("B", "no way"), ("C", "maybe")])


def prompts() -> list[Prompt]:
    made = []
    for index in range(7):
        question = f"{SHARED}{'x' * (index % 5) * 3} q{index}"
        turn = (Message(role="user", content=question),)
        plain = {"messages": (Message(role="completion", content=question),), "prefill": " ->", "choices": CHOICES}
        free = (Message(role="completion", content=f"{SHARED}N/A"),)
        kinds = {
            "greedy": {"messages": turn, "sampling": Sampling(max_tokens=12)},
            "sampled": {"messages": turn, "sampling": Sampling(max_tokens=9 + index % 3, **SAMPLED)},
            "choice": plain,
            "calibrated": {**plain, "content_free": free},
        }
        made += [Prompt(id=f"{kind}#{index}", dimension="ethics", scenario=kind, **fields) for kind, fields in kinds.items()]
    return made


@pytest.fixture(scope="module")
def backend(tiny_model: Path) -> Hf:
    return Hf(tiny_model, batch_size=5)


def test_an_answer_depends_on_its_prompt_alone(backend: Hf, tiny_model: Path) -> None:
    asked = prompts()
    together = {answer.id: answer for answer in backend.answer(asked)}
    alone = Hf(tiny_model, batch_size=1)
    random.Random(0).shuffle(asked)
    assert together.keys() == {prompt.id for prompt in asked}
    for prompt in asked:
        [answer] = alone.answer([prompt])
        other = together[prompt.id]
        assert (answer.texts, answer.finish_reasons) == (other.texts, other.finish_reasons), prompt.id
        assert answer.extra.get("loglik", []) == pytest.approx(other.extra.get("loglik", []), abs=1e-4)
        assert len(answer.texts) == len(answer.finish_reasons) == prompt.sampling.n
        assert set(answer.finish_reasons) <= ({"choice"} if prompt.choices else {"stop", "length"})


def test_copies_and_seeds_differ(backend: Hf) -> None:
    prompt = next(prompt for prompt in prompts() if prompt.scenario == "sampled")
    other = prompt.model_copy(update={"sampling": prompt.sampling.model_copy(update={"seed": 2})})
    [first], [again], [second] = (list(backend.answer([asked])) for asked in (prompt, prompt, other))
    assert first == again
    assert len({*first.texts, *second.texts}) == 6


def test_likelihoods_are_those_of_a_direct_computation(backend: Hf) -> None:
    import torch

    def mean_loglik(context: str, continuation: str) -> float:
        begin = len(backend.tokenizer(context, add_special_tokens=False)["input_ids"])
        whole = backend.tokenizer(context + continuation, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            chances = backend.model(torch.tensor([whole])).logits[0].float().log_softmax(dim=-1)
        return sum(chances[position - 1, whole[position]].item() for position in range(begin, len(whole))) / (len(whole) - begin)

    asked = {prompt.id: prompt for prompt in prompts() if prompt.choices}
    for answer in backend.answer(list(asked.values())):
        prompt = asked[answer.id]
        expected = [mean_loglik(backend.render(prompt), choice.continuation) for choice in CHOICES]
        if prompt.content_free:
            free = backend.render(prompt.model_copy(update={"messages": prompt.content_free}))
            expected = [value - mean_loglik(free, choice.continuation) for value, choice in zip(expected, CHOICES, strict=True)]
        assert answer.extra["loglik"] == pytest.approx(expected, abs=1e-4)
        best, second = sorted(expected, reverse=True)[:2]
        assert answer.extra["margin"] == pytest.approx(best - second, abs=1e-4)
        assert answer.texts == (CHOICES[expected.index(best)].text,)


def test_one_choice_is_refused(backend: Hf) -> None:
    prompt = next(prompt for prompt in prompts() if prompt.choices).model_copy(update={"choices": CHOICES[:1]})
    with pytest.raises(UserError, match=f"'{prompt.id}' of ethics has one choice"):
        list(backend.answer([prompt]))


@pytest.mark.parametrize("field", ["max_tokens", "n"])
def test_a_decoding_without_an_answer_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Sampling(**{field: 0})


def test_a_folder_that_is_no_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No model folder .*/missing"):
        Hf(tmp_path / "missing")
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"Cannot load the model in .*broken"):
        Hf(broken)


def test_provenance_names_the_template(backend: Hf, tiny_model: Path) -> None:
    assert {"backend": "hf", "template": "own", "dtype": "torch.float32"}.items() <= backend.describe().items()
    assert Hf(tiny_model, template="llama-2").describe()["template"] == "llama-2"
    assert int(backend.machine()["threads"]) > 0 and backend.machine()["accelerators"]
    assert not backend.machine().keys() & backend.describe().keys(), "what a continued run is held against names no machine"
