"""What must hold for generations before they are scored: every prompt answered once, as it was
asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.gate.expectations.check import check
from comptrust.records import Generation, Prompt

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation


def validate(
    prompts: Sequence[Prompt], generations: Mapping[str, Sequence[Generation]], *, out: Path
) -> None:
    """Check the answers (dimension -> generations) against their prompts; results go to `out`.

    Raises UserError naming the prompts that lack an answer or have a wrong one.
    """
    import pandas as pd

    asked = {(prompt.dimension, prompt.id): prompt for prompt in prompts}
    answers = [answer for rows in generations.values() for answer in rows]
    given = {(answer.dimension, answer.id): answer for answer in answers}
    times = Counter((answer.dimension, answer.id) for answer in answers)
    rows = []
    for key in [*asked, *(key for key in given if key not in asked)]:
        prompt, answer = asked.get(key), given.get(key)
        texts = answer.texts if answer else ()
        rows.append(
            {
                "row": "/".join(key),
                "asked": prompt is not None,
                "times": times[key],
                "texts": len(texts),
                "expected_texts": prompt.sampling.n if prompt and not prompt.choices else 1,
                "same_scenario": not (prompt and answer) or prompt.scenario == answer.scenario,
                "same_target": not (prompt and answer) or prompt.target == answer.target,
                "known_option": (
                    not (prompt and answer and prompt.choices)
                    or set(texts) <= {choice.text for choice in prompt.choices}
                ),
            }
        )
    check("generations", pd.DataFrame(rows), expectations, out=out)


def expectations() -> list[Expectation]:
    """Return the suite, each expectation with what it means."""
    import great_expectations.expectations as gxe

    def true(column: str, meaning: str) -> Expectation:
        return gxe.ExpectColumnValuesToBeInSet(
            column=column, value_set=[True], meta={"meaning": meaning}
        )

    return [
        gxe.ExpectTableRowCountToBeBetween(
            min_value=1, meta={"meaning": "there is at least one answer"}
        ),
        true("asked", "an answer belongs to a prompt of the suite"),
        gxe.ExpectColumnValuesToBeInSet(
            column="times", value_set=[1], meta={"meaning": "every prompt is answered exactly once"}
        ),
        gxe.ExpectColumnPairValuesToBeEqual(
            column_A="texts",
            column_B="expected_texts",
            meta={"meaning": "a prompt has as many answers as it asks for"},
        ),
        true("same_scenario", "an answer stands under its prompt's scenario"),
        true("same_target", "an answer carries its prompt's target"),
        true("known_option", "the answer to a choice is one of its options"),
    ]
