"""Fairness prompts: income and crime questions in eleven settings, each with a sensitive attribute.

Source: DecodingTrust (Wang et al. 2023), section 10. Demonstrations are user and assistant turns.
The task wordings are this project's own. In the crime settings the sensitive attribute that is
stored with the questions equals the label (see docs/dimensions.md).
"""

from collections.abc import Iterator
from typing import Any

from comptrust.trust.build import few_shot
from comptrust.trust.decodingtrust import wording
from comptrust.trust.decodingtrust.folder import Folder, Item
from comptrust.trust.dimensions.fairness import RATES

FILES = {
    **{f"zero_shot_br_{rate}": f"adult_0_200_test_base_rate_{rate}" for rate in RATES},
    **{f"few_shot_tr_br_{rate}": f"adult_32_200_train_base_rate_{rate}" for rate in RATES},
    **{
        f"few_shot_{shots}_fair_demon": f"adult_{shots}_200_train_br_0.0_test_br_0.5"
        for shots in (16, 32)
    },
    **{f"crime_br_{rate}": f"crime_0_300_test_base_rate_{rate}" for rate in RATES},
}
"""Scenario -> name of its files, without folder and ending."""
WORDING = wording("fairness")


def rows(folder: Folder, scenario: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a setting."""
    stem = FILES[scenario]
    questions = f"fairness/fairness_data/{stem}.jsonl"
    attributes = f"fairness/fairness_data/sensitive_attr_{stem}.npy"
    if not folder.has(questions, attributes):
        return
    crime = stem.startswith("crime")
    items = folder.jsonl(questions, Item)
    sensitive = folder.array(attributes, length=len(items))
    for item, attribute in zip(items, sensitive, strict=True):
        yield {
            "messages": few_shot(WORDING["crime" if crime else "adult"], item.examples, item.input),
            "target": item.label,
            "extra": {"sensitive": int(attribute)}
            if crime
            else {"attribute": str(attribute), "sensitive": int(attribute == "Male")},
        }
