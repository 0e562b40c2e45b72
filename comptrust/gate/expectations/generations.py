"""The frame of answers, beside their prompts, that is checked before the answers are scored."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from comptrust.gate.expectations.check import check
from comptrust.records import Generation, Prompt


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
    keys = [*asked, *(key for key in given if key not in asked)]
    # One row for each prompt and for each answer without a prompt.
    pairs = [(asked.get(key), given.get(key)) for key in keys]
    frame = pd.DataFrame(
        {
            "row": ["/".join(key) for key in keys],
            "asked": [key in asked for key in keys],
            "times": [times[key] for key in keys],
            "texts": [len(answer.texts) if answer else 0 for _, answer in pairs],
            "expected_texts": [_expected_texts(prompt) for prompt, _ in pairs],
            "same_scenario": [
                not (prompt and answer) or prompt.scenario == answer.scenario
                for prompt, answer in pairs
            ],
            "same_target": [
                not (prompt and answer) or prompt.target == answer.target
                for prompt, answer in pairs
            ],
            "known_option": [_known_option(prompt, answer) for prompt, answer in pairs],
        }
    )
    check("generations", frame, out=out)


def _expected_texts(prompt: Prompt | None) -> int:
    return prompt.sampling.n if prompt and not prompt.choices else 1


def _known_option(prompt: Prompt | None, answer: Generation | None) -> bool:
    if prompt is None or answer is None or not prompt.choices:
        return True
    return set(answer.texts) <= {choice.text for choice in prompt.choices}
