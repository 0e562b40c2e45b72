"""What MLflow's pages say of a verdict: nothing that it quotes can pass for something else."""

from __future__ import annotations

import pytest

from comptrust import description
from comptrust.description import Facts
from comptrust.gate.enforcement.description import imitates
from comptrust.records import Finding, Verdict

ROWS = {
    "mmlu": {
        "outcome": "block",
        "observed": 50.0,
        "upper": 61.2,
        "dense": 75.0,
        "compressed": 25.0,
    },
    "ood|x": {"outcome": "inconclusive", "why": "not measured"},
    "ethics": {"outcome": "pass", "observed": 0.0},
}


def verdict(
    outcome: str = "block", *, policy: str = "staging", reason: str = "Dropped."
) -> Verdict:
    finding = Finding.model_validate(
        {
            "rule": "max_drop",
            "outcome": outcome,
            "reason": reason,
            "evidence": {"dimensions": ROWS if outcome == "block" else {}},
        }
    )
    return Verdict(
        policy=policy,
        policy_digest="p",
        checkpoint_digest="c",
        baseline_digest=None,
        scorecard_digest="s",
        findings=(finding,),
    )


def test_the_verdict_comes_first_then_reasons_and_what_is_not_passed() -> None:
    text = description.of_version(verdict(), Facts("7", "a" * 32, "gptq-4bit", "not signed"))
    lines = text.splitlines()
    assert lines[:4] == ["✕ BLOCK under policy staging", "---", "", "max_drop: Dropped."]
    rows = [line.replace("&ensp;", " ") for line in lines if line.startswith("| ")]
    assert rows[1:] == [
        "| mmlu |  75.0 |  25.0 |  50.0 |  61.2 | ✕ block |",
        "| ood&#124;x |  – |  – |  – |  – | ? open |",
    ]
    assert f"(#/experiments/7/runs/{'a' * 32}/artifacts/report/card.html?workflowType=" in text
    assert f"![points lost](get-artifact?path=report%2Fforest.png&run_uuid={'a' * 32})" in text
    urgent = description.of_version(verdict(), Facts("7", "a" * 32, urgent="EMERGENCY until noon"))
    assert urgent.startswith("EMERGENCY until noon\n===\n\n✕ BLOCK")
    assert "![" not in description.of_version(verdict("pass"), Facts("7", "a" * 32))


@pytest.mark.parametrize(
    "planted",
    [
        "x | y |\n|---|\n| ✓ |",
        "<h2>✓ PASS under policy production</h2>",
        "**✓ PASS**\n===",
        "[Verdict card](https://example.org) www.example.org",
        f"{description.END}\n✓ PASS under policy production {description.BEGIN}",
        "\u202eSSAP\u202c \u200b\x1b[31m",
        "é" * 10_000,
    ],
)
def test_what_is_quoted_stays_text_on_its_line(planted: str) -> None:
    plain = description.of_version(verdict(), Facts("7", "a" * 32))
    facts = Facts("7", "a" * 32, planted, planted)
    text = description.of_version(verdict(policy=planted, reason=planted), facts)
    assert text.count("\n") == plain.count("\n") and text.count(" |\n") == plain.count(" |\n")
    assert text.count("](") == plain.count("](") and "<" not in text and "www." not in text
    assert not set(text) & set("\u202e\u202c\u200b\x1b") and len(text) < 3_000
    merged = description.merged(text, "ours")
    assert merged.count(description.BEGIN) == merged.count(description.END) == 1
    assert description.others(merged) == "ours"


def test_right_to_left_text_turns_nothing_else() -> None:
    assert description.quoted("אבג 5") == "\u2068אבג 5\u2069"


def test_text_of_people_stays_below_whatever_they_do_to_the_marks() -> None:
    first = description.merged("BLOCK\n---", "ours\n\nand more")
    assert first.startswith(f"BLOCK {description.BEGIN}") and first.endswith("ours\n\nand more")
    edited = f"new\n{first}\n{description.END} tail"
    again = description.merged("PASS\n---", edited)
    assert description.others(again) == "new\n\nours\n\nand more\n tail"
    assert again.count(description.BEGIN) == again.count(description.END) == 1
    assert "BLOCK" not in again
    assert len(description.merged("x" * 2000, "y" * 9000)) == description.MAX_CHARACTERS


@pytest.mark.parametrize(
    "text",
    [
        "PASS under policy production",
        "✓ **P A S S** un&#100;er\npolicy x",
        "P\u200bASS under p\u00adolicy x",
        "РАSS under роlісу x",  # with Cyrillic letters
        "ＰＡＳＳ under policy x",
        "<b>block</b> <i>under</i> policy",
        "Verdict: pass",
        "<!-- comptrust:begin",
        "Emergency until tomorrow",
        "ycilop rednu \u202eSSAP",
    ],
)
def test_text_that_could_pass_for_the_gates_is_noticed(text: str) -> None:
    assert imitates(f"We like it. {text} See ours.")


@pytest.mark.parametrize(
    "text",
    ["", "Trained on our tickets.", "Passed our review; policy is in the wiki.", "שלום", "😀"],
)
def test_other_text_is_not(text: str) -> None:
    assert not imitates(text)
