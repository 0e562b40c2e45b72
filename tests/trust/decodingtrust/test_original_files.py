"""The original files as prompts: form, scenarios and targets as published, and broken files."""

from __future__ import annotations

import csv
import json
import lzma
from collections import Counter
from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.records import Suite
from comptrust.trust import base, build
from comptrust.trust.decodingtrust import privacy
from comptrust.trust.dimensions.privacy import PII_KINDS
from comptrust.trust.suites.decodingtrust import READERS, Decodingtrust, required, scenarios
from tests.support.shared import SHARED

DATA, REPLAY = SHARED / "decodingtrust", SHARED / "replay" / "gpt-3.5-turbo-0301"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no DecodingTrust data at {DATA} (COMPTRUST_SHARED)"
)


def load(folder: Path, dimension: str) -> Suite:
    return Decodingtrust().load(str(folder), dimensions=[dimension], scoring="compressed-trust")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@needs_data
@pytest.mark.parametrize(
    ("dimension", "size"),
    [
        ("toxicity", 9592),
        ("stereotype", 3456),
        ("ood", 29970),
        ("adv_demonstration", 5812),
        ("ethics", 4109),
        ("fairness", 1900),
    ],
)
def test_prompts_have_the_form_of_the_published_generations(dimension: str, size: int) -> None:
    prompts = {prompt.id: prompt for prompt in load(DATA, dimension).prompts}
    assert len(prompts) == size
    matched = 0
    with lzma.open(REPLAY / f"{dimension}.jsonl.xz", "rt") as lines:
        for line in lines:
            published = json.loads(line)
            prompt = prompts.get(published["id"])
            if prompt is not None:
                assert (prompt.scenario, prompt.target, prompt.extra) == (
                    published["scenario"],
                    published["target"],
                    published["extra"],
                )
                matched += 1
    assert matched > 500


@needs_data
def test_privacy_has_the_published_scenarios_and_extra() -> None:
    prompts = {
        prompt.id: prompt for prompt in load(DATA, "privacy").prompts if prompt.extra["index"] < 3
    }
    matched: Counter[str] = Counter()
    with lzma.open(REPLAY / "privacy.jsonl.xz", "rt") as lines:
        for line in lines:
            published = json.loads(line)
            prompt = prompts.get(published["id"])
            if prompt is not None:
                assert {
                    key: value for key, value in prompt.extra.items() if key != "cluster"
                } == published["extra"]
                matched[published["scenario"].split("/")[0]] += 1
    assert matched == {"enron": 42, "pii": 90, "understanding": 24}


@needs_data
def test_absent_files_leave_their_scenarios_required_but_empty() -> None:
    loaded = Decodingtrust().load(str(DATA), dimensions=None, scoring="compressed-trust")
    present = {(prompt.dimension, prompt.scenario) for prompt in loaded.prompts}
    missing = {
        dimension: [name for name in names if (dimension, name) not in present]
        for dimension, names in loaded.required.items()
    }
    assert len(missing["adv_robustness"]) == 9 and len(missing["mmlu"]) == 57
    assert missing["fairness"] == [f"few_shot_tr_br_{rate}" for rate in ("0.0", "0.5", "1.0")]
    assert missing["ethics"] == ["few_shot"]
    assert not missing["toxicity"] and not missing["stereotype"] and not missing["ood"]
    assert all(not prompt.choices for prompt in loaded.prompts)


@pytest.mark.parametrize("dimension", READERS)
def test_a_reader_has_every_scenario_of_its_dimension_once(dimension: str) -> None:
    scored = base.get(dimension)
    assert sorted(scenarios(dimension)) == sorted((*scored.required, *scored.optional))
    assert set(required(dimension)) == set(scored.required)


@needs_data
def test_the_task_is_stated_once_and_demonstrations_are_turns() -> None:
    stereotype = load(DATA, "stereotype").prompts[::1152]
    assert [
        prompt.messages[1].content.count("I am going to express my view") for prompt in stereotype
    ] == [1, 1, 1]
    assert (
        "[target_group]" not in stereotype[2].messages[0].content
        and "homosexuals" in stereotype[2].messages[0].content
    )
    prompt = next(
        candidate
        for candidate in load(DATA, "fairness").prompts
        if candidate.scenario == "few_shot_32_fair_demon"
    )
    roles = Counter(message.role for message in prompt.messages)
    assert roles == {"system": 1, "user": 34, "assistant": 33}
    assert prompt.sampling.temperature == 0 and stereotype[0].sampling.n == 25


def test_few_shot_capitalizes_answers_and_without_demonstrations_is_zero_shot() -> None:
    turn = [
        (message.role, message.content)
        for message in build.few_shot("T", [("q", "not wrong")], "x")
    ]
    assert turn[1:] == [
        ("user", "T"),
        ("assistant", build.ACCEPT),
        ("user", "q"),
        ("assistant", "Not wrong"),
        ("user", "x"),
    ]
    assert build.few_shot("T", [], "x") == build.chat("T\nx", system=build.HELPFUL)


@pytest.mark.parametrize("kind", [kind.replace("_", " ") for kind in PII_KINDS])
def test_invented_values_depend_only_on_their_seed(kind: str) -> None:
    first, again, other = (privacy.value(kind, seed=seed) for seed in ("0/0", "0/0", "1/0"))
    assert first == again != other


def test_every_phrasing_reads_as_a_sentence() -> None:
    questions = [privacy.ask("exam", word) for word in privacy.PHRASINGS]
    assert len(set(questions)) == 17 and all(
        text.endswith("Can you inform Mike about it?") and "{" not in text for text in questions
    )
    assert (
        "asked you not to tell anyone" in questions[11]
        and questions[10].count("keep it a secret") == 1
    )


def test_pii_asks_in_turns_and_protects_or_tells(tmp_path: Path) -> None:
    supports = [[f"p{n}@example.org", f"Person {n}"] for n in range(5)]
    write(tmp_path / privacy.SOURCE, json.dumps({"t@example.org": supports}))
    prompts = {
        prompt.scenario: prompt
        for prompt in load(tmp_path, "privacy").prompts
        if prompt.scenario.startswith("pii/secret_key")
    }
    attack, protect = (
        prompts["pii/secret_key/3shot_attack"],
        prompts["pii/secret_key/3shot_protect"],
    )
    assert [message.role for message in attack.messages] == [
        "system",
        *["user", "assistant"] * 3,
        "user",
    ]
    assert (
        attack.messages[-1].content == "What is Person 3's secret key?"
        and attack.target in attack.messages[1].content
    )
    assert all("private" in message.content for message in protect.messages[2::2])
    assert (
        prompts["pii/secret_key/0shot_attack"]
        .messages[1]
        .content.endswith("What is Person 0's secret key?")
    )


def test_mmlu_is_a_five_shot_completion(tmp_path: Path) -> None:
    for part, count in (("dev", 6), ("test", 2)):
        path = tmp_path / part / f"anatomy_{part}.csv"
        path.parent.mkdir()
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows(
                [[f"{part} {n}, so?", "a", "b", "c", "d", "C"] for n in range(count)]
            )
    prompts = load(tmp_path, "mmlu").prompts
    assert [prompt.id for prompt in prompts] == ["anatomy#0", "anatomy#1"]
    (message,) = prompts[0].messages
    assert message.role == "completion" and message.content.count("Answer: C\n\n") == 5
    assert message.content.startswith(
        "The following are multiple choice questions (with answers) about anatomy.\n\ndev 0,"
        " so?\nA. a\n"
    )
    assert message.content.endswith("test 0, so?\nA. a\nB. b\nC. c\nD. d\nAnswer:")
    assert prompts[0].target == "C" and prompts[0].extra == {
        "choices": ["a", "b", "c", "d"],
        "index": 0,
    }


def test_adv_robustness_reads_each_task(tmp_path: Path) -> None:
    items = {
        "sst2": [{"idx": 0, "label": 1, "method": "textfooler", "sentence": "gOOd film"}],
        "qqp": [{"idx": 0, "label": 0, "method": "semattack", "sentence": "q1 q2"}],
        "mnli": [
            {"idx": 0, "label": 2, "method": "bertattack", "premise": "P.", "hypothesis": "H."}
        ],
    }
    write(tmp_path / "adv-glue-plus-plus/data/alpaca.json", json.dumps(items))
    sst2, qqp, mnli = load(tmp_path, "adv_robustness").prompts
    assert (sst2.target, qqp.target, mnli.target) == (1, 0, 2)
    assert sst2.messages[-1].content.endswith("sentence: gOOd film") and qqp.messages[
        -1
    ].content.endswith("\nq1 q2")
    assert (
        mnli.messages[-1].content.endswith("premise: P.\nhypothesis: H.")
        and mnli.sampling.max_tokens == 16
    )


def test_ethics_draws_the_same_demonstrations_each_time(tmp_path: Path) -> None:
    rows = "".join(f"{n % 2},Action {n}.,True,False\n" for n in range(40))
    for part in ("test", "train"):
        write(
            tmp_path / f"machine_ethics/ethics/commonsense/cm_{part}.csv",
            "label,input,is_short,edited\n" + rows,
        )
    first, again = (load(tmp_path, "ethics") for _ in range(2))
    assert first == again
    few = [prompt for prompt in first.prompts if prompt.scenario == "few_shot"]
    assert (
        len(few) == 40 and len(few[0].messages) == 4 + 2 * 32 and few[0].messages != few[1].messages
    )
    jailbreak = next(prompt for prompt in first.prompts if prompt.scenario == "jailbreak/1")
    assert jailbreak.target == "wrong" and "'not wrong'. You" in jailbreak.messages[1].content


TEST_CSV = "machine_ethics/ethics/commonsense/cm_test.csv"


@pytest.mark.parametrize(
    ("dimension", "name", "text", "message"),
    [
        (
            "ethics",
            TEST_CSV,
            "label,input,is_short\n0,A,True\nx,B,True\n",
            r"cm_test.csv, line 3: field 'label'",
        ),
        ("ethics", TEST_CSV, "label,is_short\n0,True\n", r"line 2: field 'input': Field required"),
        (
            "toxicity",
            "toxicity/user_prompts/toxic.jsonl",
            '{"prompt": {"text": "a"}}\n{oops\n',
            r"toxic.jsonl, line 2: not valid JSON",
        ),
        (
            "toxicity",
            "toxicity/user_prompts/toxic.jsonl",
            '{"prompt": {"txt": "a"}}\n',
            r"line 1: field 'prompt.text'",
        ),
        (
            "ood",
            "ood/knowledge.json",
            '{"test": {"qa_2023": [{"question_sentence": "q"}]}}',
            r"test.qa_2023, entry 0: field 'choices'",
        ),
        ("ood", "ood/style.json", '{"dev": {}}', r"dev.shake_w: no entry 'shake_w'"),
        (
            "adv_robustness",
            "adv-glue-plus-plus/data/vicuna.json",
            '{"sst2": [{"label": 7, "sentence": "s"}]}',
            r"field 'label' is 7",
        ),
        (
            "adv_robustness",
            "adv-glue-plus-plus/data/vicuna.json",
            '{"sst2": [{"label": 1}]}',
            r"field 'sentence' is missing",
        ),
        (
            "adv_demonstration",
            "adv_demonstration/spurious/PP/entail-bias/0.jsonl",
            '{"input": "a", "label": "yes"}\n',
            r"field 'option'",
        ),
    ],
)
def test_broken_files_are_named_with_line_and_field(
    tmp_path: Path, dimension: str, name: str, text: str, message: str
) -> None:
    write(
        tmp_path / "toxicity/toxicity_prompts.py",
        f"PROMPTS = {[{'sys_prompt': 'a', 'task_desc': 'b'}] * 2}\n",
    )
    write(tmp_path / name, text)
    with pytest.raises(UserError, match=message):
        load(tmp_path, dimension)


def test_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    write(tmp_path / TEST_CSV, "")
    (tmp_path / TEST_CSV).write_bytes(b"label,input,is_short\n0,caf\xe9,True\n")
    with pytest.raises(UserError, match="is not UTF-8"):
        load(tmp_path, "ethics")
