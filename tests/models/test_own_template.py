"""A model's own chat template: system turns it refuses, the date it prints, its arguments."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from comptrust.errors import UserError
from comptrust.models import chat, own_template, prompting
from comptrust.records import Message, Prompt

SYSTEM, USER, ANSWER = (
    Message(role=role, content=content)
    for role, content in [("system", "Be brief."), ("user", "q1"), ("assistant", "a1")]
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + (m['role'] if m['role'] != 'assistant' else 'model') + '\n'"
    " + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
DROPPING = "{% for m in messages if m['role'] != 'system' %}[{{ m['content'] }}]{% endfor %}"
DATED = "{{ strftime_now('%d %B %Y') }} {{ messages[-1]['content'] }}"
LLAMA = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}"
    "{% endif %}{{ date_string }} {{ messages[-1]['content'] }}"
)
THINKING = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)


@pytest.fixture
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (
            GEMMA,
            "<s><start_of_turn>user\nBe brief.\n\nq1<end_of_turn>\n<start_of_turn>model\na1"
            "<end_of_turn>\n<start_of_turn>user\nq1<end_of_turn>\n<start_of_turn>model\n",
        ),
        (DROPPING, "[Be brief.\n\nq1][a1][q1]"),
    ],
    ids=["refuses", "leaves out"],
)
def test_a_system_turn_the_template_does_not_take_begins_the_users_turn(
    tokenizer: PreTrainedTokenizerBase, template: str, expected: str
) -> None:
    tokenizer.chat_template = template
    text = chat.render([SYSTEM, USER, ANSWER, USER], tokenizer=tokenizer)
    assert text.removeprefix(tokenizer.bos_token or "") == expected.removeprefix("<s>")
    assert chat.name_of(None, tokenizer) == "own (system turn in the user's turn)"
    assert own_template.fill([SYSTEM], tokenizer=tokenizer).count("Be brief.") == 1


@pytest.mark.parametrize("template", [DATED, LLAMA])
def test_the_date_is_the_same_every_day_and_recorded(
    tokenizer: PreTrainedTokenizerBase, template: str
) -> None:
    tokenizer.chat_template = template
    text = chat.render([USER], tokenizer=tokenizer)
    assert text in ("01 January 2024 q1", "01 Jan 2024 q1")
    assert "date 01 Jan 2024" in chat.name_of(None, tokenizer)
    assert chat.answered("q1", "a1", tokenizer=tokenizer, template=None).endswith(" 2024 a1")


def test_arguments_reach_the_template_and_are_recorded(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = THINKING
    off = {"enable_thinking": False}
    plain, thinking = (
        chat.render([USER], tokenizer=tokenizer, arguments=args) for args in ({}, off)
    )
    assert thinking == plain + "<think>\n\n</think>\n\n"
    assert chat.name_of(None, tokenizer, off) == "own (enable_thinking=False)"
    assert chat.name_of(None, tokenizer) == "own"


@pytest.mark.parametrize(
    ("template", "arguments", "message"),
    [
        (None, {"enable_thinkin": False}, "does not use 'enable_thinkin'"),
        (None, {"messages": "x"}, "does not use 'messages'"),
        ("chatml", {"enable_thinking": False}, "only a model's own chat template has arguments"),
    ],
)
def test_an_argument_without_effect_is_refused(
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    arguments: own_template.Arguments,
    message: str,
) -> None:
    tokenizer.chat_template = THINKING
    with pytest.raises(UserError, match=message):
        chat.render([USER], tokenizer=tokenizer, template=template, arguments=arguments)


def test_a_template_that_fails_is_named_before_work(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('only tools') }}")
    prompt = Prompt(id="s#0", dimension="d", scenario="s", messages=(SYSTEM, USER))
    with pytest.raises(UserError, match="own chat template fails: only tools"):
        prompting.check(folder, [prompt])
    prompting.check(folder, [prompt], template="chatml")


def test_a_tokenizer_of_another_model_is_refused_before_work(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|unused|>"]})
    tokenizer.save_pretrained(folder)
    prompting.check(folder)  # no prompt has the token, so the model can be used
    prompt = Prompt(
        id="s#0",
        dimension="d",
        scenario="s",
        messages=(Message(role="user", content="<|unused|>"),),
    )
    with pytest.raises(UserError, match="'s#0' has tokens beyond them"):
        prompting.check(folder, [prompt])
    tokenizer.add_tokens(["extra"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match="embeddings of 259 tokens, but its tokenizer has 1 more"):
        prompting.check(folder)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("llama-2", "<s>[INST] q1 [/INST] a1{eos}"),
        ("vicuna_v1.1", f"<s>{chat.VICUNA_SYSTEM} USER: q1 ASSISTANT: a1{{eos}}"),
        ("chatml", "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\na1{eos}"),
        ("plain", "q1\na1"),
    ],
)
def test_a_finished_exchange_in_a_named_format(
    tokenizer: PreTrainedTokenizerBase, template: str, expected: str
) -> None:
    text = chat.answered("q1", "a1", tokenizer=tokenizer, template=template)
    assert text == expected.replace("{eos}", str(tokenizer.eos_token))
