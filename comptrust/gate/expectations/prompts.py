"""What must hold for prompts before a model is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.gate.expectations.check import check
from comptrust.records import Prompt
from comptrust.trust.dimensions import dimensions

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation


def validate(prompts: Sequence[Prompt], *, out: Path) -> None:
    """Check prompts; results go to `out`. Raises UserError naming the prompts that fail."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "row": [f"{prompt.dimension}/{prompt.id}" for prompt in prompts],
            "dimension": [prompt.dimension for prompt in prompts],
            "scenario": [prompt.scenario for prompt in prompts],
            "characters": [
                len(prompt.messages[-1].content.strip()) if prompt.messages else 0
                for prompt in prompts
            ],
            "choices": [len(prompt.choices) for prompt in prompts],
            "distinct_choices": [
                len({choice.continuation for choice in prompt.choices}) for prompt in prompts
            ],
            "temperature": [prompt.sampling.temperature for prompt in prompts],
            "max_tokens": [prompt.sampling.max_tokens for prompt in prompts],
            "answers": [prompt.sampling.n for prompt in prompts],
        }
    )
    check("prompts", frame, expectations, out=out)


def expectations() -> list[Expectation]:
    """Return the suite, each expectation with what it means."""
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectTableRowCountToBeBetween(
            min_value=1, meta={"meaning": "there is at least one prompt"}
        ),
        gxe.ExpectColumnValuesToBeUnique(
            column="row", meta={"meaning": "a prompt's id is unique in its dimension"}
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="dimension",
            value_set=list(dimensions()),
            meta={"meaning": "the dimension is a known one"},
        ),
        gxe.ExpectColumnValueLengthsToBeBetween(
            column="scenario", min_value=1, meta={"meaning": "the scenario has a name"}
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="characters", min_value=1, meta={"meaning": "the last message is not blank"}
        ),
        gxe.ExpectColumnValuesToNotBeInSet(
            column="choices", value_set=[1], meta={"meaning": "a choice has at least two options"}
        ),
        gxe.ExpectColumnPairValuesToBeEqual(
            column_A="choices",
            column_B="distinct_choices",
            meta={"meaning": "the options of a choice differ"},
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="temperature",
            min_value=0,
            max_value=2,
            meta={"meaning": "the temperature is 0 to 2"},
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="max_tokens",
            min_value=1,
            meta={"meaning": "an answer may have at least one token"},
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="answers", min_value=1, meta={"meaning": "at least one answer is asked for"}
        ),
    ]
