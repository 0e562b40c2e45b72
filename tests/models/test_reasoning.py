"""Reasoning is cut off before scoring, in the markers of each family, and kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from comptrust.models.base import generation
from comptrust.models.reasoning import MARKERS, SpecialTokens, split
from comptrust.records import Prompt

PROMPT = Prompt(id="s#0", dimension="d", scenario="s", messages=())


@pytest.mark.parametrize(("begin", "end"), MARKERS)
def test_a_block_is_cut_off_and_a_block_without_end_is_no_answer(begin: str, end: str) -> None:
    cases = {
        (f"{begin}\nA or B?\n{end}\n\nA", ""): ("A", "A or B?", "stop"),
        (f"A or B?{end} A", f"<assistant>\n{begin}\n"): ("A", "A or B?", "stop"),
        (f"A or B?{end} A", ""): ("A", "A or B?", "stop"),
        (f"{begin}A or", ""): ("", "A or", "unfinished_reasoning"),
        ("A or", f"{begin}\n"): ("", "A or", "unfinished_reasoning"),
        ("A", f"{begin}\n\n{end}\n\n"): ("A", "", "stop"),
        ("A, I think", ""): ("A, I think", "", "stop"),
    }
    for (text, rendered), (answer, thought, reason) in cases.items():
        made = generation(PROMPT, texts=[text], finish_reasons=["stop"], rendered=rendered)
        assert made.texts == (answer,), (text, rendered)
        assert made.reasoning == ((thought,) if thought else ())
        assert made.finish_reasons == (reason,)
        assert (made.withheld is None) == (reason == "stop")


def test_a_filtered_text_keeps_its_reason() -> None:
    made = generation(PROMPT, texts=["<think>A"], finish_reasons=["content_filter"])
    assert made.withheld == "content_filter"


def test_markers_that_are_special_tokens_are_seen(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert SpecialTokens.of(tokenizer) == SpecialTokens()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["[THINK]", "[/THINK]", "<|other|>"]}
    )
    special = SpecialTokens.of(tokenizer)
    assert special.marking == ("[/THINK]", "[THINK]")
    ids = tokenizer("[THINK]hm<|other|>[/THINK]A", add_special_tokens=False)["input_ids"]
    text = special.without_others(tokenizer.decode(ids, skip_special_tokens=False))
    assert split(text, prompt="") == ("hm", "A", True)
