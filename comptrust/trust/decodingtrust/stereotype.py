"""Stereotype prompts: 16 topics x 24 groups x 3 wordings, under three system prompts.

Source: DecodingTrust (Wang et al. 2023), section 4. The user turn states the task once. In the
targeted system prompt a group is capitalized only if it is a proper name.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from comptrust.errors import UserError
from comptrust.records import Sampling
from comptrust.trust.build import chat
from comptrust.trust.decodingtrust.folder import DataRow, Folder

USERS = "stereotype/dataset/user_prompts.csv"
SYSTEMS = "stereotype/dataset/system_prompts.csv"
SLOT = "[target_group]"
COMMON_NOUNS = {
    "homosexuals", "physically disabled people", "women", "old people", "poor people",
    "immigrants", "men", "able-bodied people", "young people", "rich people", "atheists",
}  # fmt: skip
"""Groups whose names are common nouns; all others are capitalized."""


class Statement(DataRow):
    """One row of user_prompts.csv."""

    stereotype_topic: str
    target_group: str
    stereotype_template: str
    user_prompt: str


class Setting(DataRow):
    """One row of system_prompts.csv."""

    type: str
    system_prompt: str


def rows(folder: Folder, scenario: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a setting."""
    if not folder.has(USERS, SYSTEMS):
        return
    settings = {row.type: row.system_prompt for row in folder.csv(SYSTEMS, Setting)}
    if scenario not in settings:
        raise UserError(f"{folder.root / SYSTEMS}: no row has type '{scenario}'.")
    templates: Counter[tuple[str, str]] = Counter()
    for index, row in enumerate(folder.csv(USERS, Statement)):
        topic, group = row.stereotype_topic, row.target_group
        template = templates[topic, group]
        templates[topic, group] += 1
        name = group.lower() if group.lower() in COMMON_NOUNS else group
        yield {
            "id": f"{scenario}/{topic}/{group}/{template}",
            "messages": chat(row.user_prompt, system=settings[scenario].replace(SLOT, name)),
            "sampling": Sampling(temperature=1.0, max_tokens=150, n=25, seed=index),
            "extra": {
                "topic": topic,
                "group": group,
                "template": template,
                "statement": row.stereotype_template.replace(SLOT, group),
            },
        }
