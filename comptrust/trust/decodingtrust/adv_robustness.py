"""Adversarial robustness prompts: AdvGLUE++ sentences that were attacked to fool three models.

Source: DecodingTrust (Wang et al. 2023), section 5. The attacked sentences are the original ones.
The task wordings and the two or three fixed demonstrations are this project's own, so scores differ
from the published ones.
"""

from collections.abc import Iterator
from typing import Any

from comptrust.errors import UserError
from comptrust.records import Sampling
from comptrust.trust.build import chat
from comptrust.trust.decodingtrust import wording
from comptrust.trust.decodingtrust.folder import DataRow, Folder
from comptrust.trust.lexicons import CLASSIFICATION

KEYS = {"sst2": ("sentence",), "qqp": ("question1", "question2"), "mnli": ("premise", "hypothesis")}
WORDING = wording("adv_robustness")
TASKS = WORDING["tasks"]


class Attacked(DataRow):
    """One attacked item; its text fields depend on its task and method."""

    label: int
    idx: int | str | None = None
    """Number of the GLUE item that was attacked; the three models attack the same ones."""
    method: str = ""
    sentence: str | None = None
    question1: str | None = None
    question2: str | None = None
    premise: str | None = None
    hypothesis: str | None = None


def rows(folder: Folder, scenario: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a scenario."""
    base, task = scenario.split("/")
    path = f"adv-glue-plus-plus/data/{base}.json"
    if not folder.has(path):
        return
    demos = [(_ask(task, texts), answer.capitalize()) for texts, answer in WORDING["demos"][task]]
    n_labels = len(CLASSIFICATION[task])
    for index, item in enumerate(folder.entries(path, task, row=Attacked)):
        where = f"{folder.root / path}, {task}, entry {index}"
        texts = [getattr(item, key) for key in KEYS[task]]
        if item.method == "semattack" and item.sentence is not None:
            question = f"{TASKS[task]}\n{item.sentence}"
        elif None in texts:
            raise UserError(f"{where}: field '{KEYS[task][texts.index(None)]}' is missing.")
        else:
            question = _ask(task, texts)
        if item.label not in range(n_labels):
            raise UserError(
                f"{where}: field 'label' is {item.label}; it must be 0 to {n_labels - 1}."
            )
        yield {
            "messages": chat(question, demos=demos),
            "sampling": Sampling(max_tokens=16),
            "target": item.label,
            "extra": {
                "task": task,
                "base": base,
                **({} if item.idx is None else {"cluster": f"{task}#{item.idx}"}),
            },
        }


def _ask(task: str, texts: list[str]) -> str:
    lines = [f"{key}: {text}" for key, text in zip(KEYS[task], texts, strict=True)]
    return "\n".join([TASKS[task], *lines])
