"""Published answers of gpt-3.5: noise passes the gate, planted damage does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from comptrust.gate import control, resampling, statistics
from comptrust.records import Generation
from comptrust.trust import base
from comptrust.trust.generations import read_generations
from tests.support.shared import SHARED

ANSWERS = SHARED / "replay" / "gpt-3.5-turbo-0301"
NAMES = ("stereotype", "ood", "privacy")
POINTS, SEEDS = 5.0, 3
pytestmark = pytest.mark.skipif(not ANSWERS.is_dir(), reason="no published answers")


@pytest.fixture(scope="module", params=NAMES)
def published(request: pytest.FixtureRequest) -> tuple[base.Dimension, list[Generation]]:
    return base.get(request.param), list(read_generations(ANSWERS / f"{request.param}.jsonl.xz"))


def exchanged(answers: Sequence[Generation], seed: int) -> list[Generation]:
    """Exchange the texts of 2% of the answers with each other, within each scenario."""
    rng = np.random.default_rng(seed)
    changed = list(answers)
    scenarios: dict[str, list[int]] = {}
    for row, answer in enumerate(answers):
        scenarios.setdefault(answer.scenario, []).append(row)
    for rows in scenarios.values():
        chosen = rng.permutation(rows)[: round(0.02 * len(rows))].tolist()
        for to, source in zip(chosen, [*chosen[1:], *chosen[:1]], strict=True):
            changed[to] = answers[to].model_copy(update={"texts": answers[source].texts})
    return changed


def test_exchanged_answers_pass_and_planted_drops_do_not(
    published: tuple[base.Dimension, list[Generation]],
) -> None:
    dimension, answers = published
    dense = base.Table.of(map(dimension.judge, answers))
    for seed in range(SEEDS):
        noisy = base.Table.of(map(dimension.judge, exchanged(answers, seed)))
        drop = statistics.compare(noisy, dense, dimension=dimension)
        assert drop is not None and drop.outcome(POINTS) == "pass", drop

    harm, unchanged = dimension.harm(dense), dimension.contrast(dense, dense)
    share = (POINTS + control.BEYOND) / dataclasses.replace(unchanged, losses=harm).estimate
    numbers, count = resampling.clusters(dense)
    for seed in range(SEEDS):
        fallen = np.random.default_rng(seed).random(count)[numbers] < share
        drop = dataclasses.replace(unchanged, losses=fallen * harm)
        bounds = statistics.interval(drop, dense, seed=seed)
        assert bounds.estimate > POINTS, bounds
