"""Writes the Hugging Face copies of DecodingTrust and MMLU in the original file layout.

Sources: AI-Secure/DecodingTrust and cais/mmlu, or a local folder of the same form. The copy lacks
the toxicity and stereotype instructions, which are this project's own here, so scores differ from
the published ones, and the sensitive attributes, which are read from the questions. Scenarios
whose files are missing are reported as not measured.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from comptrust.errors import ServiceError, UserError
from comptrust.trust.decodingtrust import (
    adv_demonstration,
    adv_robustness,
    ethics,
    fairness,
    mmlu,
    ood,
    privacy,
    stereotype,
    toxicity,
    wording,
)
from comptrust.trust.dimensions.adv_robustness import BASES
from comptrust.trust.dimensions.mmlu import SUBJECTS

Rows = Sequence[Mapping[str, Any]]
TOXICITY_SPLITS = {
    "toxic-gpt3.5": "toxic.gpt3.5",
    "toxic-gpt4": "toxic.gpt4",
    "toxic": "realtoxicityprompts.toxic",
    "nontoxic": "realtoxicityprompts.nontoxic",
}
WORDING = wording("hub")


class Hub:
    """A dataset on the hub or in a local folder, to be written to `into` in the original layout."""

    def __init__(self, source: str, into: Path) -> None:
        self.source, self.into = source, into

    def write(self, dimension: str) -> None:
        """Write the files of a dimension. Raises UserError or ServiceError if it fails."""
        getattr(self, f"_{dimension}")()

    def _rows(
        self, config: str | None = None, *, split: str = "train", file: str | None = None
    ) -> list[dict[str, Any]]:
        import datasets

        try:
            data = datasets.load_dataset(
                self.source, config, data_files=file and [file], split=split
            )
            return list(data.to_list())
        except datasets.exceptions.DatasetNotFoundError as error:
            raise UserError(
                f"No dataset '{self.source}' on the hub, or no access to it. Check the name after"
                " hf:."
            ) from error
        except (FileNotFoundError, ValueError):
            return []
        except (OSError, datasets.exceptions.DatasetGenerationError) as error:
            cause = error.__cause__ or error
            reason = str(cause).strip().split("\n")[0].rstrip(".")
            if isinstance(cause, OSError):
                raise ServiceError(
                    f"Cannot load '{self.source}': {reason}. Check the network and the disk, then"
                    " try again; files that were loaded are cached."
                ) from error
            raise UserError(
                f"'{self.source}', {config or file}: cannot be read: {reason}. Repair the file or"
                " download it again."
            ) from error

    def _text(self, name: str, text: str) -> None:
        path = self.into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _jsonl(self, name: str, rows: Rows) -> None:
        if rows:
            self._text(name, "".join(json.dumps(row) + "\n" for row in rows))

    def _csv(self, name: str, columns: Iterable[str], rows: Rows, *, header: bool = True) -> None:
        import pandas as pd

        if rows:
            table = pd.DataFrame(rows, columns=list(columns), dtype=object)
            self._text(name, table.to_csv(index=False, header=header, lineterminator="\r\n"))

    def _toxicity(self) -> None:
        for name, split in TOXICITY_SPLITS.items():
            rows = self._rows("toxicity", split=split)
            self._jsonl(
                f"toxicity/user_prompts/{toxicity.FILES[name]}",
                [{"prompt": _beginning(row)} for row in rows],
            )
            if rows:
                self._text(toxicity.TEMPLATES, f"PROMPTS = {WORDING['instructions']!r}\n")

    def _stereotype(self) -> None:
        rows = self._rows(file="stereotype/dataset/stereotype_bias_data.jsonl")
        # Each statement comes once per system prompt; the fork's data misspells the benign one.
        statements = [
            {
                "stereotype_topic": prompt["stereotype_topic_tag"],
                "target_group": prompt["demographic_group_tag"],
                "stereotype_template": prompt["text"].rpartition("Here is my statement: ")[2],
                "user_prompt": prompt["text"],
            }
            for prompt in (row["prompt"] for row in rows)
            if prompt["sys_prompt_type_tag"] in ("benign", "beningn")
        ]
        self._csv(stereotype.USERS, stereotype.Statement.model_fields, statements)
        self._csv(
            stereotype.SYSTEMS, stereotype.Setting.model_fields, WORDING["settings"] if rows else []
        )

    def _adv_robustness(self) -> None:
        tasks = {task: self._rows("adv-glue-plus-plus", split=task) for task in adv_robustness.KEYS}
        for base in BASES:
            items = {
                task: [row for row in rows if row["model"] == base] for task, rows in tasks.items()
            }
            if any(items.values()):
                self._text(f"adv-glue-plus-plus/data/{base}.json", json.dumps(items))

    def _ood(self) -> None:
        if rows := self._rows("ood", split="knowledge"):
            groups = _groups([{**row, "answer": str(row["answer"])} for row in rows])
            test = {name: groups.pop(name) for name in ("qa_2020", "qa_2023") if name in groups}
            self._text(ood.KNOWLEDGE, json.dumps({"demo": groups, "test": test}))
        if rows := self._rows("ood", split="style"):
            groups = _groups(
                [
                    {**row, "sentence": row["question_sentence"], "label": str(row["answer"])}
                    for row in rows
                ]
            )
            demos = {name: groups.pop(name) for name in list(groups) if re.search(r"_[0-2]$", name)}
            self._text(ood.STYLE, json.dumps({"train_demo": demos, "dev": groups}))

    def _adv_demonstration(self) -> None:
        for scenario in adv_demonstration.SCENARIOS:
            path = adv_demonstration.path_of(scenario)
            self._jsonl(path, self._rows(file=path))

    def _privacy(self) -> None:
        supports = {f"{privacy.FOLDER}/{file}.json" for file in privacy.SUPPORTS.values()}
        for name in (privacy.NAMES, privacy.CONTEXTS, *sorted(supports)):
            prompts = {row["email"]: row["prompt"] for row in self._rows(file=f"{name}l")}
            if name not in supports:
                prompts = {email: prompt[0][0] for email, prompt in prompts.items()}
            if prompts:
                self._text(name, json.dumps(prompts))

    def _ethics(self) -> None:
        for name, split in ((ethics.TEST, "cm_test"), (ethics.TRAIN, "cm_train")):
            self._csv(name, ethics.Action.model_fields, self._rows("machine_ethics", split=split))

    def _fairness(self) -> None:
        for stem in fairness.FILES.values():
            path = f"fairness/fairness_data/{stem}.jsonl"
            rows = self._rows(file=path)
            self._jsonl(path, rows)
            if rows:
                np.save(
                    self.into / f"fairness/fairness_data/sensitive_attr_{stem}.npy",
                    [_attribute(stem, row) for row in rows],
                )

    def _mmlu(self) -> None:
        for part in ("dev", "test"):
            rows = self._rows("all", split=part)
            for subject in SUBJECTS:
                lines = [_question(row) for row in rows if row["subject"] == subject]
                self._csv(f"{part}/{subject}_{part}.csv", mmlu.COLUMNS, lines, header=False)


def _beginning(row: Mapping[str, Any]) -> dict[str, Any]:
    prompt = row.get("prompt")
    flat = {"text": row.get("text", prompt), "toxicity": row.get("toxicity")}
    return prompt if isinstance(prompt, dict) else flat


def _groups(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["category"], []).append(
            {key: value for key, value in row.items() if value is not None}
        )
    return groups


def _attribute(stem: str, row: Mapping[str, Any]) -> str | int:
    if stem.startswith("crime"):
        return int(row["label"].lower() == "low")
    return "Male" if re.search(r"\bsex Male\b", row["input"]) else "Female"


def _question(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "question": row["question"],
        **dict(zip("ABCD", row["choices"], strict=True)),
        "answer": "ABCD"[row["answer"]],
    }
