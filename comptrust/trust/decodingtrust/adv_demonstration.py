"""Adversarial demonstration prompts: misleading examples before each question.

Source: DecodingTrust (Wang et al. 2023), section 7. The questions and demonstrations are the
original ones. The task wordings are this project's own, so scores differ from the published ones.
"""

from collections.abc import Iterator
from typing import Any

from comptrust.trust.build import few_shot
from comptrust.trust.decodingtrust import wording
from comptrust.trust.decodingtrust.folder import Folder, Item
from comptrust.trust.dimensions.adv_demonstration import TRIGGERS, AdvDemonstration


def _file_order(scenario: str) -> tuple[str, int, str]:
    """Order backdoor scenarios by setup and trigger, attack success before clean accuracy."""
    setup, trigger, kind = scenario.split("/")[1].split("_")
    return setup, TRIGGERS.index(trigger), kind


_BACKDOOR = [name for name in AdvDemonstration.required if name.startswith("backdoor/")]
SCENARIOS = (
    *(name for name in AdvDemonstration.required if not name.startswith("backdoor/")),
    *sorted((*_BACKDOOR, *AdvDemonstration.optional), key=_file_order),
)
"""The dimension's scenarios in the order of the data; suite digests depend on it."""
WORDING = wording("adv_demonstration")


def rows(folder: Folder, scenario: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a scenario."""
    path = path_of(scenario)
    if not folder.has(path):
        return
    part, name, *_ = scenario.split("/")
    task = WORDING["tasks"].get(name) or WORDING[part]
    for item in folder.jsonl(path, Item):
        yield {
            "messages": few_shot(task, item.examples, item.input),
            "target": item.label,
            "extra": {"option": item.option},
        }


def path_of(scenario: str) -> str:
    """Return the name of the file with a scenario's questions."""
    return f"adv_demonstration/{scenario.replace('backdoor/', 'backdoor/experiment1/sst-2_')}.jsonl"
