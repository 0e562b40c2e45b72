"""Great Expectations: good data passes and is documented; bad data or a bad file is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.gate.expectations import check, frames
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
    # Not validated: a record refuses by itself some of what the checks must catch in files.
    score = Score.model_construct(
        **{
            "dimension": "ethics",
            "value": 50.0,
            "refusal_rate": 0.0,
            "n_prompts": 2,
            "n_scored": 2,
            **fields,
        }
    )
    return Scorecard.model_construct(
        checkpoint_digest="a" * 64,
        suite_digest="b" * 64,
        rendering_digest="c" * 64,
        generations={},
        scores=(score,),
        provenance={},
    )


def test_good_data_passes_and_is_documented(tmp_path: Path) -> None:
    asked = [prompt(1), prompt(2)]
    frames.validate_prompts(asked, out=tmp_path)
    frames.validate_generations(asked, {"ethics": [answer(1), answer(2)]}, out=tmp_path)
    frames.validate_scorecards(
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
        frames.validate_prompts(bad, out=tmp_path)
    assert json.loads((tmp_path / "prompts.json").read_text())["success"] is False


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([answer(1)], "not true of 1 row: ethics/plain#2"),
        ([answer(1), answer(2), answer(3)], "plain#3"),
        ([answer(1), answer(2), answer(2)], "plain#2"),
        ([answer(1), answer(2, texts=("perhaps",))], "one of its options.*plain#2"),
        ([answer(1), answer(2, texts=("yes", "no"))], "plain#2"),
        ([answer(1), answer(2, target=0)], "target.*plain#2"),
    ],
)
def test_bad_generations_are_named(given: list[Generation], named: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=named):
        frames.validate_generations([prompt(1), prompt(2)], {"ethics": given}, out=tmp_path)


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
        frames.validate_scorecards([card(**fields)], out=tmp_path)


ROWS = "type: expect_table_row_count_to_be_between"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: prompts\nexpectations: [\n", r"prompts.yaml is not valid YAML"),
        ("name: prompts\n", r"prompts.yaml: field 'expectations': Field required"),
        ("name: prompts\nexpectations: []\n", r"prompts.yaml: field 'expectations' is empty"),
        (f"name: scores\nexpectations: [{{{ROWS}}}]\n", r"field 'name' is 'scores'"),
        (f"name: prompts\nexpectations: [{{{ROWS}}}]\n", r"expectation 1: field 'meaning'"),
        (
            "name: prompts\nexpectations: [{type: expect_table_row_count, meaning: m}]\n",
            r"expectation 1: unknown expectation type 'expect_table_row_count'. Did you mean",
        ),
        (
            f"name: prompts\nexpectations: [{{{ROWS}, meaning: m, min_valu: 1}}]\n",
            r"expectation 1 \(expect_table_.*\): Unknown setting 'min_valu'. Did you mean 'min_val",
        ),
        (
            f"name: prompts\nexpectations: [{{{ROWS}, meaning: m, result_format: BASIC}}]\n",
            r"Unknown setting 'result_format'",
        ),
        (
            f"name: prompts\nexpectations: [{{{ROWS}, meaning: m, min_value: few}}]\n",
            r"expectation 1 \(expect_table_.*\): field 'min_value': value is not a valid integer",
        ),
        (
            "name: prompts\nexpectations: [{type: expect_column_values_to_be_unique, meaning: m,"
            " column: rows}]\n",
            r"expectation 1 \(field 'column'\): Unknown column 'rows'. Did you mean 'row'",
        ),
        (
            "name: prompts\nexpectations: [{type: expect_column_values_to_be_in_set, meaning: m,"
            " column: row, value_set: {$PARAMETER: rows}}]\n",
            r"prompts.yaml: .*rows. Known parameters: dimensions",
        ),
        (
            "name: prompts\nexpectations: [{type: expect_column_values_to_match_regex, meaning: m,"
            " column: row, regex: '('}]\n",
            r"expectation 'm' of .*prompts.yaml could not be checked: .*missing \)",
        ),
    ],
)
def test_a_broken_file_is_named(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(check.FOLDER, tmp_path / "expectations")
    (tmp_path / "expectations" / "prompts.yaml").write_text(text)
    monkeypatch.setattr(check, "FOLDER", tmp_path / "expectations")
    with pytest.raises(UserError, match=message) as caught:
        frames.validate_prompts([prompt(1)], out=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_broken_file_stops_before_a_model_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(check.FOLDER, tmp_path / "expectations")
    (tmp_path / "expectations" / "scorecards.yaml").unlink()
    monkeypatch.setattr(check, "FOLDER", tmp_path / "expectations")
    with pytest.raises(UserError, match="scorecards.yaml"):
        frames.validate_prompts([prompt(1)], out=tmp_path)


def test_no_rows_fail_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one answer"):
        frames.validate_generations([], {}, out=tmp_path)
    with pytest.raises(UserError, match="at least one score"):
        frames.validate_scorecards([], out=tmp_path)
