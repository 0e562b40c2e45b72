"""MMLU prompts: 57 subjects, five demonstrations, plain completion without a chat template.

Source: Hendrycks et al. 2021 (Measuring Massive Multitask Language Understanding). The files are
the original CSVs, dev/SUBJECT_dev.csv and test/SUBJECT_test.csv, in the data folder or its mmlu/.
Demonstrations are never dropped to shorten a prompt; the backend refuses one that is too long.
"""

from collections.abc import Iterator
from typing import Any, Literal

from comptrust.records import Sampling
from comptrust.trust.build import completion
from comptrust.trust.decodingtrust.folder import DataRow, Folder

COLUMNS = ("question", "A", "B", "C", "D", "answer")
N_DEMONSTRATIONS = 5


class Question(DataRow):
    """One line of a subject's file, which has no header."""

    question: str
    A: str
    B: str
    C: str
    D: str
    answer: Literal["A", "B", "C", "D"]

    @property
    def choices(self) -> list[str]:
        return [self.A, self.B, self.C, self.D]

    def ask(self) -> str:
        """Return the question, its choices and `Answer:`."""
        lines = [f"{letter}. {choice}" for letter, choice in zip("ABCD", self.choices, strict=True)]
        return "\n".join([self.question, *lines, "Answer:"])


def rows(folder: Folder, scenario: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a subject."""
    for parent in ("", "mmlu/"):
        dev, test = f"{parent}dev/{scenario}_dev.csv", f"{parent}test/{scenario}_test.csv"
        if folder.has(dev, test):
            break
    else:
        return
    demos = folder.csv(dev, Question, header=COLUMNS)[:N_DEMONSTRATIONS]
    subject = scenario.replace("_", " ")
    head = [
        f"The following are multiple choice questions (with answers) about {subject}.",
        *(f"{demo.ask()} {demo.answer}" for demo in demos),
    ]
    for question in folder.csv(test, Question, header=COLUMNS):
        yield {
            "messages": completion("\n\n".join([*head, question.ask()])),
            "sampling": Sampling(max_tokens=16),
            "target": question.answer,
            "extra": {"choices": question.choices},
        }
