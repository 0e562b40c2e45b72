"""The suite loader: what it refuses, filters and records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comptrust.errors import UserError
from comptrust.records import Generation, Message, Prompt, Sample, Scorecard, Suite
from comptrust.trust import scorers, suite
from comptrust.trust.evaluation import Evaluation


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
        ({"spec": "decodingtrust:x", "dimensions": []}, "The list of dimensions is empty"),
        ({"spec": "decodingtrust:x", "limit": 0}, "limit is 0"),
        ({"spec": "decodingtrust"}, "needs its data folder"),
        ({"spec": "decodingtrust:/no/such/folder"}, "No data folder at /no/such/folder"),
    ],
)
def test_load_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        suite.load(**arguments)


@pytest.mark.parametrize(
    ("text", "names"),
    [("mmlu", ["mmlu"]), ("mmlu, ethics ", ["mmlu", "ethics"])],
)
def test_a_list_of_dimensions_may_have_blanks(text: str, names: list[str]) -> None:
    assert suite.split_dimensions(text) == names


@pytest.mark.parametrize("text", ["", " ", "mmlu,", "mmlu,,ethics"])
def test_a_list_of_dimensions_has_no_empty_name(text: str) -> None:
    with pytest.raises(UserError, match="has an empty name"):
        suite.split_dimensions(text)


@pytest.mark.parametrize("dimensions", [["fairness"], ["privacy"], None])
def test_empty_folder_is_refused(tmp_path: Path, dimensions: list[str] | None) -> None:
    with pytest.raises(UserError, match="holds none of the files of"):
        suite.load(f"decodingtrust:{tmp_path}", dimensions=dimensions)


def test_limit_draws_a_sample_that_names_the_whole_suite(folder: Path) -> None:
    whole = suite.load(f"decodingtrust:{folder}", dimensions=["fairness"])
    cut = suite.load(f"decodingtrust:{folder}", dimensions=["fairness"], limit=1)
    assert [prompt.id for prompt in whole.prompts][:3] == [
        f"zero_shot_br_0.0#{n}" for n in range(3)
    ]
    assert [prompt.scenario for prompt in cut.prompts] == ["zero_shot_br_0.0", "crime_br_0.5"]
    assert (whole.limit, cut.limit) == (None, 1)
    assert whole.digest != cut.digest and whole.revision == cut.revision
    assert cut.sample == Sample(parent=whole.digest, seed=0)
    assert cut.manifest().parent == whole.manifest().parent == whole.digest


def test_a_limit_that_leaves_nothing_out_is_no_sample(folder: Path) -> None:
    whole, same = (
        suite.load(f"decodingtrust:{folder}", dimensions=["fairness"], limit=limit)
        for limit in (None, 6)
    )
    assert same == whole and same.digest == whole.digest
    assert "sample" not in json.loads(whole.manifest().model_dump_json())


def test_the_digest_is_that_of_all_fields(folder: Path) -> None:
    for limit in (None, 1):
        loaded = suite.load(f"decodingtrust:{folder}", dimensions=["fairness"], limit=limit)
        assert loaded.digest == loaded.digest_of_fields()


class Plugin:
    """A suite of another package, which knows nothing of limits."""

    def load(self, argument: str | None, *, dimensions: Any, scoring: Any) -> Suite:
        return Suite(
            name="plugin",
            revision=str(argument),
            required={"ethics": ("zero_shot",)},
            prompts=tuple(
                Prompt(
                    id=f"zero_shot#{n}",
                    dimension="ethics",
                    scenario="zero_shot",
                    messages=(Message(role="user", content=f"{argument} {n}"),),
                    target="wrong",
                )
                for n in range(20)
            ),
        )


def answered(questions: Suite) -> Evaluation:
    """Return the evaluation of a model that says nothing."""
    rows = [
        Generation(
            dimension="ethics", scenario=prompt.scenario, id=prompt.id, texts=("",), target="wrong"
        )
        for prompt in questions.prompts
    ]
    card = Scorecard(
        checkpoint_digest="c",
        suite_digest=questions.digest,
        rendering_digest="r",
        generations={},
        scores=(),
        provenance={},
    )
    return Evaluation("here", card, questions.manifest(), {"ethics": rows})


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "SUITES", SimpleNamespace(get=lambda name: Plugin))


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("limit", [None, 5])
def test_a_plug_in_suite_is_sampled_and_proven_without_its_help(limit: int | None) -> None:
    questions = suite.load("plugin:a", limit=limit)
    assert len(questions.prompts) == limit or 20
    suite.answered(answered(questions), "plugin:a")


@pytest.mark.usefixtures("plugin")
def test_what_is_not_the_stated_sample_is_refused() -> None:
    questions = suite.load("plugin:a", limit=5)
    evaluation, other = answered(questions), answered(suite.load("plugin:a", limit=6))
    manifest = questions.manifest()
    first = manifest.model_copy(update={"sample": None})
    seeded = Sample(parent=manifest.parent, seed=1)
    for changed, message in (
        (replace(evaluation, suite=None), "has no suite.json"),
        (replace(evaluation, suite=first), "the first 5 prompts of each scenario"),
        (replace(evaluation, generations=other.generations), "other prompts than its suite.json"),
        (replace(evaluation, scorecard=other.scorecard), "other prompts than its suite.json"),
        (
            replace(evaluation, suite=manifest.model_copy(update={"sample": seeded})),
            "other prompts than its suite.json",
        ),
    ):
        with pytest.raises(UserError, match=message):
            suite.answered(changed, "plugin:a")
    with pytest.raises(UserError, match="which is not 'plugin:b'"):
        suite.answered(evaluation, "plugin:b")


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
        (("a#0", "a#0"), "x", "'a#0': duplicate id"),
        (("a#0",), " \n", "'a#0': a message is blank"),
        ((), "", "has no prompts"),
    ],
)
def test_check_refuses(ids: tuple[str, ...], text: str, message: str) -> None:
    turns = (Message(role="user", content=text),)
    prompts = tuple(Prompt(id=name, dimension="ood", scenario="a", messages=turns) for name in ids)
    with pytest.raises(UserError, match=message):
        suite.check(
            Suite(name="t", revision="0", prompts=prompts, required={"ood": ("a",)}), spec="t"
        )
