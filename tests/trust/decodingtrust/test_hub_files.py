"""The hub's form of the data, from local files in it: parquet or JSON lines, and a dataset card."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comptrust.errors import UserError
from comptrust.trust import suite
from comptrust.trust.dimensions import ood


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def card(folder: Path, configs: dict[str, dict[str, str]]) -> None:
    """Write the dataset card, which maps configurations and splits to files."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        lines += [f'  - split: "{split}"\n    path: {path}' for split, path in splits.items()]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "DecodingTrust"
    jsonl(
        folder / "toxicity/toxic.jsonl",
        [{"prompt": "It was a", "toxicity": 0.4}, {"prompt": "They are", "toxicity": 0.2}],
    )
    jsonl(folder / "toxicity/gpt4.jsonl", [{"prompt": "Once", "toxicity": 0.9}])
    knowledge = [
        "qa_2020",
        "qa_2023",
        *(f"{subject}_{run}" for subject in ood.SUBJECTS for run in ood.RUNS),
    ]
    question = {
        "question_date": "2023/01/05",
        "question_sentence": "who?",
        "choices": ["a", "b", "c", "d"],
        "answer": "2",
    }
    jsonl(folder / "ood/knowledge.jsonl", [{"category": name, **question} for name in knowledge])
    styles = [name.removeprefix("style/") for name in ood.Ood.required if name.startswith("style/")]
    style = [*styles, *(f"base_{run}" for run in ood.RUNS)]
    jsonl(
        folder / "ood/style.jsonl",
        [{"category": name, "question_sentence": f"fine {name}", "answer": 1} for name in style],
    )
    jsonl(
        folder / "machine_ethics/cm_test.jsonl",
        [{"label": 1, "input": "I stole.", "is_short": True}],
    )
    jsonl(
        folder / "adv/sst2.jsonl",
        [
            {"idx": n, "label": n, "method": "textfooler", "model": model, "sentence": f"film {n}"}
            for n, model in enumerate(("alpaca", "vicuna"))
        ],
    )
    jsonl(
        folder / "fairness/fairness_data/adult_0_200_test_base_rate_0.0.jsonl",
        [
            {
                "input": f"age 19, sex {sex}, hours",
                "label": "no",
                "option": ["yes", "no"],
                "examples": [],
            }
            for sex in ("Female", "Male")
        ],
    )
    tags = {"stereotype_topic_tag": "driving", "demographic_group_tag": "Women"}
    jsonl(
        folder / "stereotype/dataset/stereotype_bias_data.jsonl",
        [
            {
                "prompt": {
                    "text": "Agree? Here is my statement: Women drive well.",
                    "sys_prompt_type_tag": kind,
                    **tags,
                }
            }
            for kind in ("benign", "untargeted", "targeted")
        ],
    )
    for name, prompt in (
        ("email2name", [["Tess Target"]]),
        ("five_shot", [[f"p{n}@example.org", f"P {n}"] for n in range(5)]),
    ):
        jsonl(
            folder / f"privacy/enron_data/{name}.jsonl",
            [{"email": "t@example.org", "prompt": prompt}],
        )
    item = {
        "input": "a sentence",
        "label": "yes",
        "option": ["no", "yes"],
        "examples": [["shown", "no"]],
    }
    jsonl(folder / "adv_demonstration/counterfactual/main_verb_cf/42.jsonl", [item])
    card(
        folder,
        {
            "toxicity": {
                "realtoxicityprompts.toxic": "toxicity/toxic.jsonl",
                "toxic.gpt4": "toxicity/gpt4.jsonl",
            },
            "ood": {"knowledge": "ood/knowledge.jsonl", "style": "ood/style.jsonl"},
            "machine_ethics": {"cm_test": "machine_ethics/cm_test.jsonl"},
            "adv-glue-plus-plus": {"sst2": "adv/sst2.jsonl"},
        },
    )
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


CASES: list[tuple[str, dict[str, int]]] = [
    (
        "toxicity",
        {
            "toxic/template-0": 2,
            "toxic/template-1": 2,
            "toxic-gpt4/template-0": 1,
            "toxic-gpt4/template-1": 1,
        },
    ),
    ("stereotype", {"benign": 1, "untargeted": 1, "targeted": 1}),
    ("adv_robustness", {"alpaca/sst2": 1, "vicuna/sst2": 1}),
    ("adv_demonstration", {"counterfactual/main_verb_cf/42": 1}),
    ("fairness", {"zero_shot_br_0.0": 2}),
    ("ethics", {"zero_shot": 1, "jailbreak/1": 1, "evasive/5": 1}),
    (
        "ood",
        {
            "knowledge/qa_2023_idk": 1,
            "style/augment": 1,
            "knowledge_fewshot/us_foreign_policy/2": 1,
            "style_fewshot/tweet/0": 1,
        },
    ),
    ("privacy", {"enron/five-shot-a": 1, "pii/ssn/3shot_attack": 1}),
]


@pytest.mark.parametrize(("dimension", "counts"), CASES)
def test_dimension_is_read_through_datasets(
    trust: Path, dimension: str, counts: dict[str, int]
) -> None:
    loaded = suite.load(f"hf:{trust}", dimensions=[dimension])
    counted = loaded.manifest().n_prompts[dimension]
    assert {name: counted.get(name) for name in counts} == counts
    assert loaded.name == "hf" and set(loaded.required) == {dimension}


def test_values_survive_the_way(trust: Path) -> None:
    fairness = suite.load(f"hf:{trust}", dimensions=["fairness"]).prompts
    assert [prompt.extra["sensitive"] for prompt in fairness] == [0, 1]
    targeted = suite.load(f"hf:{trust}", dimensions=["stereotype"]).prompts[2]
    assert (
        "You particularly hate women." in targeted.messages[0].content
        and targeted.extra["statement"] == "Women drive well."
    )
    assert [
        prompt.target for prompt in suite.load(f"hf:{trust}", dimensions=["adv_robustness"]).prompts
    ] == [0, 1]


def test_mmlu_is_read_through_datasets(tmp_path: Path) -> None:
    folder = tmp_path / "mmlu"
    rows = [
        {
            "question": f"q{n}?",
            "subject": "anatomy",
            "choices": ["a", "b", "c", "d"],
            "answer": n % 4,
        }
        for n in range(5)
    ]
    parquet(folder / "all/dev.parquet", rows)
    parquet(folder / "all/test.parquet", rows[:3])
    card(folder, {"all": {"dev": "all/dev.parquet", "test": "all/test.parquet"}})
    loaded = suite.load(f"hf:{folder}")
    assert [prompt.id for prompt in loaded.prompts] == [f"anatomy#{n}" for n in range(3)]
    assert [prompt.target for prompt in loaded.prompts] == ["A", "B", "C"]
    assert len(loaded.required["mmlu"]) == 57
    sampled = suite.load(f"hf:{folder}", limit=2)
    assert sampled.sample and sampled.sample.parent == loaded.digest
    assert len(sampled.prompts) == 2
    assert all(prompt in loaded.prompts for prompt in sampled.prompts)


def test_broken_file_is_the_source_s_fault(tmp_path: Path) -> None:
    folder = tmp_path / "DecodingTrust"
    path = folder / "adv_demonstration/counterfactual/main_verb_cf/42.jsonl"
    jsonl(path, [])
    path.write_text('{"input": "a"}\n{oops\n')
    with pytest.raises(UserError, match="main_verb_cf/42.jsonl: cannot be read"):
        suite.load(f"hf:{folder}", dimensions=["adv_demonstration"])


@pytest.mark.parametrize(
    ("spec", "dimensions", "message"),
    [
        ("hf", None, "needs a dataset"),
        ("hf:/no/such/folder", None, "has none of the files"),
        ("hf:cais/mmlu", ["ood"], "has no prompts for ood. It has mmlu"),
    ],
)
def test_refuses(spec: str, dimensions: list[str] | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        suite.load(spec, dimensions=dimensions)
