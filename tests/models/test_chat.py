"""The text that a model sees, character by character."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.models import chat
from comptrust.records import Message

SYSTEM, Q1, A1, Q2 = (
    Message(role=role, content=content)
    for role, content in [("system", "S"), ("user", "q1"), ("assistant", "a1"), ("user", "q2")]
)
OWN = "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("template", "messages", "expected"),
    [
        ("llama-2", [Q1], "<s>[INST] q1 [/INST]"),
        ("llama-2", [SYSTEM, Q1], "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nq1 [/INST]"),
        (
            "llama-2",
            [SYSTEM, Q1, A1, Q2],
            "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nq1 [/INST] a1 </s><s>[INST] q2 [/INST]",
        ),
        ("vicuna_v1.1", [Q1], f"<s>{chat.VICUNA_SYSTEM} USER: q1 ASSISTANT:"),
        ("vicuna_v1.1", [SYSTEM, Q1, A1, Q2], "<s>S USER: q1 ASSISTANT: a1</s>USER: q2 ASSISTANT:"),
        ("chatml", [Q1], OWN),
        ("plain", [SYSTEM, Q1], "S\nq1\n"),
        (None, [Q1], OWN),
    ],
)
def test_templates(
    template: str | None, messages: list[Message], expected: str, tokenizer: object
) -> None:
    assert (
        chat.render(messages, tokenizer=tokenizer, template=template, prefill=" So")
        == f"{expected} So"
    )


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> object:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def test_a_completion_is_continued_as_it_is(tokenizer: object) -> None:
    alone = Message(role="completion", content="Once")
    for template in (None, "llama-2"):
        assert (
            chat.render([alone], tokenizer=tokenizer, template=template, prefill=" upon")
            == "Once upon"
        )
    with pytest.raises(UserError, match="exactly one message"):
        chat.render([alone, Q1], tokenizer=tokenizer)


def test_a_base_model_gets_paragraphs(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    base = AutoTokenizer.from_pretrained(tiny_model)
    base.chat_template = None
    assert chat.render([SYSTEM, Q1], tokenizer=base) == "S\nq1\n"


def test_an_unknown_template_is_named(tokenizer: object) -> None:
    with pytest.raises(UserError, match="Did you mean 'llama-2'"):
        chat.render([Q1], tokenizer=tokenizer, template="llama2")


def test_without_a_tokenizer_the_template_begins_the_text(tokenizer: object) -> None:
    for template in ("llama-2", "vicuna_v1.1"):
        assert chat.render([Q1], tokenizer=None, template=template) == chat.render(
            [Q1], tokenizer=tokenizer, template=template
        )
        assert (
            chat.render(
                [Message(role="completion", content="Once")], tokenizer=None, template=template
            )
            == "<s>Once"
        )
    with pytest.raises(UserError, match="a template must be named: llama-2"):
        chat.render([Q1], tokenizer=None)
