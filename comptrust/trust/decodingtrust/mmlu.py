"""MMLU prompts: 57 subjects, five demonstrations, plain completion without a chat template.

Source: Hendrycks et al. 2021 (Measuring Massive Multitask Language Understanding). The files are
the original CSVs, dev/SUBJECT_dev.csv and test/SUBJECT_test.csv, in the data folder or its mmlu/.
Demonstrations are never dropped to shorten a prompt; the backend refuses one that is too long.
"""

from collections.abc import Iterator
from typing import Literal

from comptrust.records import Message, Prompt, Sampling
from comptrust.trust.decodingtrust.folder import DataRow, Folder
from comptrust.trust.dimensions.mmlu import Mmlu

SCENARIOS = Mmlu.required
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


def prompts(folder: Folder, scenario: str) -> Iterator[Prompt]:
    """Yield the prompts of a subject, none if its files are absent.

    Raises UserError for a broken file.
    """
    for parent in ("", "mmlu/"):
        dev, test = f"{parent}dev/{scenario}_dev.csv", f"{parent}test/{scenario}_test.csv"
        if folder.has(dev, test):
            break
    else:
        return
    demos = folder.csv(dev, Question, header=COLUMNS)[:N_DEMONSTRATIONS]
    head = (
        "The following are multiple choice questions (with answers) about"
        f" {scenario.replace('_', ' ')}.\n\n"
    )
    head += "".join(f"{demo.ask()} {demo.answer}\n\n" for demo in demos)
    for index, question in enumerate(folder.csv(test, Question, header=COLUMNS)):
        yield Prompt(
            id=f"{scenario}#{index}",
            dimension=Mmlu.name,
            scenario=scenario,
            messages=(Message(role="completion", content=head + question.ask()),),
            sampling=Sampling(max_tokens=16),
            target=question.answer,
            extra={"choices": question.choices, "index": index},
        )
