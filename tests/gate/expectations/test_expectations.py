"""Great Expectations: good data passes and leaves its documents, bad data stops with the rows
named.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.gate.expectations import generations, prompts, scorecards
from comptrust.records import Choice, Generation, Message, Prompt, Score, Scorecard

YES_NO = (Choice(text="yes", continuation=" yes"), Choice(text="no", continuation=" no"))


def prompt(number: int, **fields: object) -> Prompt:
    content = {
        "messages": (Message(role="user", content="Is it right?"),),
        "choices": YES_NO,
        "target": 1,
        **fields,
    }
    return Prompt(id=f"plain#{number}", dimension="ethics", scenario="plain", **content)


def answer(number: int, **fields: object) -> Generation:
    content = {"texts": ("yes",), "target": 1, **fields}
    return Generation(dimension="ethics", scenario="plain", id=f"plain#{number}", **content)


def card(**fields: object) -> Scorecard:
    score = Score(
        **{
            "dimension": "ethics",
            "value": 50.0,
            "refusal_rate": 0.0,
            "n_prompts": 2,
            "n_scored": 2,
            **fields,
        }
    )
    return Scorecard(
        checkpoint_digest="a" * 64,
        suite_digest="b" * 64,
        rendering_digest="c" * 64,
        generations={},
        scores=(score,),
        provenance={},
    )


def test_good_data_passes_and_is_documented(tmp_path: Path) -> None:
    asked = [prompt(1), prompt(2)]
    prompts.validate(asked, out=tmp_path)
    generations.validate(asked, {"ethics": [answer(1), answer(2)]}, out=tmp_path)
    scorecards.validate(
        [
            card(),
            card(dimension="mmlu", value=None, n_scored=0),
            card(dimension="toxicity", value=200.0),
        ],
        out=tmp_path,
    )
    for name in ("prompts", "generations", "scorecards"):
        assert json.loads((tmp_path / f"{name}.json").read_text())["success"] is True
        assert (tmp_path / "docs" / name / "index.html").exists()


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ([prompt(1), prompt(1)], "plain#1"),
        ([prompt(3, messages=(Message(role="user", content="  "),))], "plain#3"),
        ([prompt(4, choices=YES_NO[:1])], "plain#4"),
        ([prompt(5, choices=(YES_NO[0], YES_NO[0]))], "plain#5"),
        ([], "at least one prompt"),
    ],
)
def test_bad_prompts_are_named(bad: list[Prompt], named: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=named):
        prompts.validate(bad, out=tmp_path)
    assert json.loads((tmp_path / "prompts.json").read_text())["success"] is False


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([answer(1)], "not so in 1 rows: ethics/plain#2"),
        ([answer(1), answer(2), answer(3)], "plain#3"),
        ([answer(1), answer(2), answer(2)], "plain#2"),
        ([answer(1), answer(2, texts=("perhaps",))], "one of its options.*plain#2"),
        ([answer(1), answer(2, texts=("yes", "no"))], "plain#2"),
        ([answer(1), answer(2, target=0)], "target.*plain#2"),
    ],
)
def test_bad_generations_are_named(given: list[Generation], named: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=named):
        generations.validate([prompt(1), prompt(2)], {"ethics": given}, out=tmp_path)


IMPOSSIBLE = [
    {"value": 101.0},
    {"value": float("nan")},
    {"refusal_rate": -1.0},
    {"n_scored": 3},
    {"n_scored": 0},
    {"n_prompts": 0, "n_scored": 0},
]


@pytest.mark.parametrize("fields", IMPOSSIBLE)
def test_impossible_scores_are_named(fields: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ethics"):
        scorecards.validate([card(**fields)], out=tmp_path)
