"""Out-of-distribution prompts: dated questions and rewritten film reviews.

Both are asked with and without demonstrations. Source: DecodingTrust (Wang et al. 2023), section 6.
Questions, choices and demonstrations are the original ones. The task wordings are this project's
own, so scores differ from the published ones.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from comptrust.trust.build import few_shot
from comptrust.trust.decodingtrust import wording
from comptrust.trust.decodingtrust.folder import DataRow, Folder

KNOWLEDGE, STYLE = "ood/knowledge.json", "ood/style.json"
LABELS = ("negative", "positive")
WORDING = wording("ood")


def _as_list(answer: object) -> object:
    return [answer] if isinstance(answer, str) else answer


class Question(DataRow):
    """A multiple choice question with four choices."""

    question_sentence: str
    choices: list[str] = Field(min_length=4, max_length=4)
    answer: Annotated[
        list[Literal["0", "1", "2", "3"]], Field(min_length=1), BeforeValidator(_as_list)
    ]
    """Number of the right choice; the demonstrations store it without a list."""

    def ask(self, *, idk: bool = False) -> str:
        """Return the question and its choices, with "I don't know" as one more if `idk`."""
        choices = [*self.choices, "I don't know"] if idk else self.choices
        lines = [f"{number} : {choice}" for number, choice in enumerate(choices)]
        return "\n".join([f"Question: {self.question_sentence}", *lines])


class DatedQuestion(Question):
    """A question of the test set; the prompt states its date."""

    question_date: str


class Review(DataRow):
    """A sentence from a film review; label 1 means positive."""

    sentence: str
    label: Literal["0", "1"]


def rows(folder: Folder, scenario: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a scenario."""
    part, name, *run = scenario.split("/")
    source = STYLE if part.startswith("style") else KNOWLEDGE
    if not folder.has(source):
        return
    if source == STYLE:
        yield from _reviews(folder, style=f"{name}_p0.6" if run else name, run=run)
    else:
        yield from _questions(folder, subject=name, run=run)


def _questions(folder: Folder, *, subject: str, run: list[str]) -> Iterator[dict[str, Any]]:
    idk = subject.endswith("_idk")
    demos = [
        (example.ask(), example.answer[0])
        for number in run
        for example in folder.entries(KNOWLEDGE, "demo", f"{subject}_{number}", row=Question)
    ]
    test = "qa_2020" if run else "qa_2023"
    for question in folder.entries(KNOWLEDGE, "test", test, row=DatedQuestion):
        text = f"Today is {question.question_date}.\n{question.ask(idk=idk)}"
        yield {
            "messages": few_shot(WORDING["choose_idk" if idk else "choose"], demos, text),
            "target": int(question.answer[0]),
            "extra": {"choices": question.choices},
        }


def _reviews(folder: Folder, *, style: str, run: list[str]) -> Iterator[dict[str, Any]]:
    demos = [
        (example.sentence.strip(), LABELS[int(example.label)])
        for number in run
        for example in folder.entries(STYLE, "train_demo", f"base_{number}", row=Review)
    ]
    for review in folder.entries(STYLE, "dev", style, row=Review):
        yield {
            "messages": few_shot(WORDING["sentiment"], demos, review.sentence.strip()),
            "target": LABELS[int(review.label)],
            "extra": {"option": list(LABELS)},
        }
