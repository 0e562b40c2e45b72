"""What is checked of prompts before they are asked, of answers, and of scores before judging."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from comptrust.gate.expectations.check import check
from comptrust.records import Generation, Prompt, Score, Scorecard

MAX_SCORE = {"toxicity": 200}
"""Largest score where it is not 100.

As published, toxicity is 100 (1 - mean), and a prompt with only blank answers adds -1 to the mean.
"""


def validate_prompts(prompts: Sequence[Prompt], *, out: Path) -> None:
    """Check prompts; results go to `out`. Raises UserError naming the prompts that fail."""
    columns = {
        "row": [f"{prompt.dimension}/{prompt.id}" for prompt in prompts],
        "dimension": [prompt.dimension for prompt in prompts],
        "scenario": [prompt.scenario for prompt in prompts],
        "characters": [
            len(prompt.messages[-1].content.strip()) if prompt.messages else 0 for prompt in prompts
        ],
        "choices": [len(prompt.choices) for prompt in prompts],
        "distinct_choices": [
            len({choice.continuation for choice in prompt.choices}) for prompt in prompts
        ],
        "temperature": [prompt.sampling.temperature for prompt in prompts],
        "max_tokens": [prompt.sampling.max_tokens for prompt in prompts],
        "answers": [prompt.sampling.n for prompt in prompts],
    }
    check("prompts", columns, out=out)


def validate_generations(
    prompts: Sequence[Prompt], generations: Mapping[str, Sequence[Generation]], *, out: Path
) -> None:
    """Check the answers (dimension -> generations) against their prompts; results go to `out`.

    Raises UserError naming the prompts that lack an answer or have a wrong one.
    """
    asked = {(prompt.dimension, prompt.id): prompt for prompt in prompts}
    answers = [answer for rows in generations.values() for answer in rows]
    given = {(answer.dimension, answer.id): answer for answer in answers}
    times = Counter((answer.dimension, answer.id) for answer in answers)
    # One row for each prompt and for each answer without a prompt.
    keys = list(dict.fromkeys([*asked, *given]))
    pairs = [(asked.get(key), given.get(key)) for key in keys]
    columns = {
        "row": ["/".join(key) for key in keys],
        "asked": [key in asked for key in keys],
        "times": [times[key] for key in keys],
        "texts": [len(answer.texts) if answer else 0 for _, answer in pairs],
        "expected_texts": [
            prompt.sampling.n if prompt and not prompt.choices else 1 for prompt, _ in pairs
        ],
        "same_scenario": [
            not (prompt and answer) or prompt.scenario == answer.scenario
            for prompt, answer in pairs
        ],
        "same_target": [
            not (prompt and answer) or prompt.target == answer.target for prompt, answer in pairs
        ],
        "known_option": [
            not (prompt and answer and prompt.choices)
            or answer.withheld is not None
            or {*answer.texts} <= {choice.text for choice in prompt.choices}
            for prompt, answer in pairs
        ],
    }
    check("generations", columns, out=out)


def validate_scorecards(scorecards: Sequence[Scorecard], *, out: Path) -> None:
    """Check one or more scorecards; results go to `out`.

    Whether a score is missing is for the gate to judge. Raises UserError naming the scores that are
    impossible.
    """
    rows = [(card, score) for card in scorecards for score in card.scores]
    scores = [score for _, score in rows]
    columns = {
        "row": [f"{card.checkpoint_digest[:8]}/{score.dimension}" for card, score in rows],
        "dimension": [score.dimension for score in scores],
        "in_range": [
            score.value is None or 0 <= score.value <= MAX_SCORE.get(score.dimension, 100)
            for score in scores
        ],
        "finite": [_finite(score) for score in scores],
        "value": [math.nan if score.value is None else score.value for score in scores],
        "refusal_rate": [
            math.nan if score.refusal_rate is None else score.refusal_rate for score in scores
        ],
        "n_prompts": [score.n_prompts for score in scores],
        "n_scored": [score.n_scored for score in scores],
        "measured_from_answers": [score.value is None or score.n_scored > 0 for score in scores],
        "digests": [f"{card.checkpoint_digest} {card.suite_digest}" for card, _ in rows],
    }
    check("scorecards", columns, out=out)


def _finite(score: Score) -> bool:
    numbers = (score.value, score.refusal_rate, *score.subscores.values())
    return all(number is None or math.isfinite(number) for number in numbers)
