"""The frame of prompts that is checked before a model answers them."""

from collections.abc import Sequence
from pathlib import Path

from comptrust.gate.expectations.check import check
from comptrust.records import Prompt


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
    check("prompts", frame, out=out)
