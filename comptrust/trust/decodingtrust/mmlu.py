"""MMLU prompts: 57 subjects, five demonstrations, plain completion without a chat template.

Source: Hendrycks et al. 2021 (Measuring Massive Multitask Language Understanding). Files are the
original CSVs, dev/SUBJECT_dev.csv and test/SUBJECT_test.csv, in the data folder or below its mmlu/.
Demonstrations are never dropped for length; a prompt too long for the model is the backend's to
refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from comptrust.records import Message, Prompt, Sampling
from comptrust.trust.decodingtrust.folder import Folder, Row

DIMENSION = "mmlu"
SCENARIOS = (
    "abstract_algebra", "anatomy", "astronomy", "business_ethics", "clinical_knowledge",
    "college_biology", "college_chemistry", "college_computer_science", "college_mathematics",
    "college_medicine", "college_physics", "computer_security", "conceptual_physics",
    "econometrics", "electrical_engineering", "elementary_mathematics", "formal_logic",
    "global_facts", "high_school_biology", "high_school_chemistry", "high_school_computer_science",
    "high_school_european_history", "high_school_geography", "high_school_government_and_politics",
    "high_school_macroeconomics", "high_school_mathematics", "high_school_microeconomics",
    "high_school_physics", "high_school_psychology", "high_school_statistics",
    "high_school_us_history", "high_school_world_history", "human_aging", "human_sexuality",
    "international_law", "jurisprudence", "logical_fallacies", "machine_learning", "management",
    "marketing", "medical_genetics", "miscellaneous", "moral_disputes", "moral_scenarios",
    "nutrition", "philosophy", "prehistory", "professional_accounting", "professional_law",
    "professional_medicine", "professional_psychology", "public_relations", "security_studies",
    "sociology", "us_foreign_policy", "virology", "world_religions",
)  # fmt: skip
COLUMNS = ("question", "A", "B", "C", "D", "answer")
SHOTS = 5


class Question(Row):
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
        """Return the question up to the answer."""
        lines = [f"{letter}. {choice}" for letter, choice in zip("ABCD", self.choices, strict=True)]
        return "\n".join([self.question, *lines, "Answer:"])


def prompts(folder: Folder, scenario: str) -> Iterator[Prompt]:
    """Yield one subject's prompts; none if its files are absent. Raises UserError for a broken
    file.
    """
    for below in ("", "mmlu/"):
        dev, test = f"{below}dev/{scenario}_dev.csv", f"{below}test/{scenario}_test.csv"
        if folder.has(dev, test):
            break
    else:
        return
    shown = folder.csv(dev, Question, header=COLUMNS)[:SHOTS]
    head = (
        "The following are multiple choice questions (with answers) about"
        f" {scenario.replace('_', ' ')}.\n\n"
    )
    head += "".join(f"{demo.ask()} {demo.answer}\n\n" for demo in shown)
    for index, question in enumerate(folder.csv(test, Question, header=COLUMNS)):
        yield Prompt(
            id=f"{scenario}#{index}",
            dimension=DIMENSION,
            scenario=scenario,
            messages=(Message(role="completion", content=head + question.ask()),),
            sampling=Sampling(max_tokens=16),
            target=question.answer,
            extra={"choices": question.choices, "index": index},
        )
