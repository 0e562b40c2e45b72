"""The one suite loader: what it refuses, filters and records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comptrust.errors import UserError
from comptrust.records import Message, Prompt, Suite
from comptrust.trust import scorers, suite


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with two small fairness files."""
    import numpy as np

    below = tmp_path / "fairness" / "fairness_data"
    below.mkdir(parents=True)
    for stem, labels, attributes in [
        ("adult_0_200_test_base_rate_0.0", ["yes", "no", "no"], ["Male", "Female", "Male"]),
        ("crime_0_300_test_base_rate_0.5", ["High", "Low"], [0, 1]),
    ]:
        rows = [
            {"input": f"question {n}", "label": label, "option": [], "examples": []}
            for n, label in enumerate(labels)
        ]
        (below / f"{stem}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        np.save(below / f"sensitive_attr_{stem}.npy", np.array(attributes))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spec": "decodingtrst:x"}, "Unknown suite 'decodingtrst'. Did you mean 'decodingtrust'"),
        (
            {"spec": "decodingtrust:x", "dimensions": ["fairnes"]},
            "Unknown dimension 'fairnes'. Did you mean 'fairness'",
        ),
        ({"spec": "decodingtrust:x", "dimensions": []}, "No dimension"),
        ({"spec": "decodingtrust:x", "limit": 0}, "--limit is 0"),
        ({"spec": "decodingtrust"}, "needs its data folder"),
        ({"spec": "decodingtrust:/no/such/folder"}, "No data folder at /no/such/folder"),
    ],
)
def test_load_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        suite.load(**arguments)


@pytest.mark.parametrize("dimensions", [["fairness"], ["privacy"], None])
def test_empty_folder_is_refused(tmp_path: Path, dimensions: list[str] | None) -> None:
    with pytest.raises(UserError, match="holds none of the files of"):
        suite.load(f"decodingtrust:{tmp_path}", dimensions=dimensions)


def test_limit_keeps_the_first_of_each_scenario_and_is_recorded(folder: Path) -> None:
    whole = suite.load(f"decodingtrust:{folder}", dimensions=["fairness"])
    cut = suite.load(f"decodingtrust:{folder}", dimensions=["fairness"], limit=1)
    assert [prompt.id for prompt in whole.prompts][:3] == [
        f"zero_shot_br_0.0#{n}" for n in range(3)
    ]
    assert [prompt.id for prompt in cut.prompts] == ["zero_shot_br_0.0#0", "crime_br_0.5#0"]
    assert (whole.limit, cut.limit) == (None, 1)
    assert whole.digest != cut.digest and whole.revision == cut.revision


def test_scoring_is_part_of_the_digest_and_absent_files_stay_required(folder: Path) -> None:
    spec = f"decodingtrust:{folder}"
    fork, original = (
        suite.load(spec, dimensions=["fairness"], scoring=scoring)
        for scoring in ("compressed-trust", "original")
    )
    assert fork.digest != original.digest
    assert len(fork.required["fairness"]) == 11 and set(fork.required) == {"fairness"}
    assert fork.scorers == {}


def test_revision_follows_the_bytes_that_were_read(folder: Path) -> None:
    spec = f"decodingtrust:{folder}"
    before = suite.load(spec, dimensions=["fairness"]).revision
    path = folder / "fairness" / "fairness_data" / "crime_0_300_test_base_rate_0.5.jsonl"
    path.write_text(path.read_text().replace("question 0", "question zero"))
    assert suite.load(spec, dimensions=["fairness"]).revision != before


def test_toxicity_names_its_scorer(tmp_path: Path) -> None:
    below = tmp_path / "toxicity" / "user_prompts"
    below.mkdir(parents=True)
    (below / "toxic.jsonl").write_text('{"prompt": {"text": "Once upon", "toxicity": 0.1}}\n')
    (tmp_path / "toxicity" / "toxicity_prompts.py").write_text(
        'PROMPTS = [{"sys_prompt": "A.", "task_desc": "B."}] * 1 + []\n'
    )
    with pytest.raises(UserError, match="PROMPTS is not a literal list"):
        suite.load(f"decodingtrust:{tmp_path}", dimensions=["toxicity"])
    (tmp_path / "toxicity" / "toxicity_prompts.py").write_text(
        'PROMPTS = [{"sys_prompt": "A.", "task_desc": "B. \\n"}, {"sys_prompt": "C.", "task_desc":'
        ' "D."}]\n'
    )
    loaded = suite.load(f"decodingtrust:{tmp_path}", dimensions=["toxicity"])
    assert loaded.scorers == {"toxicity": scorers.get("local").identity}
    assert [message.content for message in loaded.prompts[0].messages] == ["A.", "B.\nOnce upon"]


@pytest.mark.parametrize(
    ("ids", "text", "message"),
    [
        (("a#0", "a#0"), "x", "'a#0': the id stands twice"),
        (("a#0",), " \n", "'a#0': a message is blank"),
        ((), "", "holds no prompts"),
    ],
)
def test_check_refuses(ids: tuple[str, ...], text: str, message: str) -> None:
    turns = (Message(role="user", content=text),)
    prompts = tuple(Prompt(id=name, dimension="ood", scenario="a", messages=turns) for name in ids)
    with pytest.raises(UserError, match=message):
        suite.check(
            Suite(name="t", revision="0", prompts=prompts, required={"ood": ("a",)}), spec="t"
        )
