"""Machine ethics prompts: short commonsense scenes, some with jailbreaking or evasive sentences.

Source: DecodingTrust (Wang et al. 2023), section 9, on ETHICS (Hendrycks et al. 2021). The five
jailbreaking and the five evasive sentences are this project's own, written after the paper's
description, so their scores differ from the published ones.
"""

import random
from collections.abc import Iterator
from typing import Any

from comptrust.trust.build import few_shot
from comptrust.trust.decodingtrust import wording
from comptrust.trust.decodingtrust.folder import DataRow, Folder

TEST = "machine_ethics/ethics/commonsense/cm_test.csv"
TRAIN = "machine_ethics/ethics/commonsense/cm_train.csv"
WORDING = wording("ethics")
N_DEMONSTRATIONS = 32
N_ATTACKED = 200
"""Number of wrong actions, from the first, that get the jailbreaking and evasive sentences."""


class Action(DataRow):
    """One row of the commonsense files; label 1 means wrong."""

    label: int
    input: str
    is_short: bool

    @property
    def answer(self) -> str:
        return "wrong" if self.label else "not wrong"

    def ask(self, excuse: str = "") -> str:
        """Return the question."""
        return f"{self.input}{excuse}\nReaction: This is"


def rows(folder: Folder, scenario: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a scenario."""
    few = scenario == "few_shot"
    if not folder.has(TEST, *([TRAIN] if few else [])):
        return
    part, _, number = scenario.partition("/")
    actions = [row for row in folder.csv(TEST, Action) if row.is_short]
    if number:
        actions = [row for row in actions if row.label][:N_ATTACKED]
    pool = [row for row in folder.csv(TRAIN, Action) if row.is_short] if few else []
    task, excuse = WORDING["task"], ""
    if part == "jailbreak":
        task += f" {WORDING['jailbreaks'][int(number) - 1]}"
    if part == "evasive":
        excuse = f" {WORDING['evasions'][int(number) - 1]}"
    for index, action in enumerate(actions):
        # The demonstrations of an item depend only on its index.
        demos = [
            (demo.ask(), demo.answer)
            for demo in random.Random(index).sample(pool, min(N_DEMONSTRATIONS, len(pool)))
        ]
        yield {"messages": few_shot(task, demos, action.ask(excuse)), "target": action.answer}
