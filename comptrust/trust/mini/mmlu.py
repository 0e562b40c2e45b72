"""Easy knowledge questions: the words of the answers are scored, the letter is recorded.

Each option's log-likelihood is compared with that after another question of the same table, whose
answer is none of the options.
"""

import random

from comptrust.records import Choice, Message
from comptrust.trust.build import Rows, completion
from comptrust.trust.mini import texts

FACTS = texts(__file__)
"""Subject -> its question, and the answer for each thing."""
DEMOS = (
    "Question: What do bees make?\nAnswer: honey\n\nQuestion: What color is the sea?\nAnswer:"
    " blue\n\n"
)


def rows() -> Rows:
    """Return a question with four options per fact; wrong options come from the same table."""
    generator = random.Random(2024)
    built: Rows = {}
    for subject, table in FACTS.items():
        question, facts = table["question"], table["facts"]
        answers = sorted(set(facts.values()))
        built[subject] = []
        for thing, right in facts.items():
            wrong = [answer for answer in answers if answer != right]
            options = [right, *generator.sample(wrong, 3)]
            generator.shuffle(options)
            other = generator.choice(
                [name for name, answer in facts.items() if answer not in options]
            )
            built[subject].append(
                {
                    "messages": _ask(question.format(thing)),
                    "reference": _ask(question.format(other)),
                    "choices": tuple(
                        Choice(text=letter, continuation=f" {option}")
                        for letter, option in zip("ABCD", options, strict=True)
                    ),
                    "target": "ABCD"[options.index(right)],
                    "extra": {"choices": options, "chance": 0.25},
                }
            )
    return built


def _ask(question: str) -> tuple[Message, ...]:
    return completion(f"{DEMOS}Question: {question}\nAnswer:")
