"""Show what a model can rank in the mini suite: `python benchmarks/mini_chance.py [MODEL]
[dimension ...]`.

Prints, for each scenario, the pairs (or questions), the share that guessing gets right, the share
that the model gets right with its 95% interval (Wilson 1927), and the median distance between the
two sides in nats. For fairness it is the share of people whose answer does not depend on their sex.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from comptrust.models.backends.hf import Hf
from comptrust.models.sources import resolve
from comptrust.records import Generation
from comptrust.trust import base, suite


def rows(dimension: base.Dimension, answers: list[Generation]) -> dict[str, np.ndarray]:
    """Return for each scenario whether each pair or question was answered rightly."""
    table = base.Table.of(map(dimension.judge, answers))
    right = dimension.merit(table) if dimension.name != "fairness" else _same(dimension, table)
    return {name: right[table.where(name)] for name in table.scenarios()}


def _same(dimension: base.Dimension, table: base.Table) -> np.ndarray:
    """Return NaN for one prompt of each person, and for the other whether both answers agree."""
    nobody = table.values | {"prediction": np.zeros(len(table.ids))}
    losses = dimension.contrast(table, base.Table(**(vars(table) | {"values": nobody}))).losses
    return np.where(dimension.shares(table) > 0, 1 - losses, np.nan)


def main(model: str, dimensions: list[str]) -> None:
    """Ask the choice prompts and print a Markdown table."""
    backend = Hf(resolve(model).path)
    loaded = suite.load("mini", dimensions=dimensions or None)
    print(
        "| dimension | scenario | pairs | guessing | right | 95% interval | margin, nats |\n"
        "|---|---|---|---|---|---|---|",
        flush=True,
    )
    for name in loaded.required:
        prompts = {
            prompt.id: prompt
            for prompt in loaded.prompts
            if prompt.dimension == name and prompt.choices
        }
        if not prompts:
            continue
        began = time.monotonic()
        by_id = {answer.id: answer for answer in backend.answer(list(prompts.values()))}
        answers = [by_id[number] for number in prompts]
        for scenario, right in rows(base.get(name), answers).items():
            right = right[~np.isnan(right)]
            members = [answer for answer in answers if answer.scenario == scenario]
            chance = members[0].extra.get("chance")
            interval = stats.binomtest(round(right.sum()), len(right)).proportion_ci(
                method="wilson"
            )
            margin = statistics.median(answer.extra["margin"] for answer in members)
            print(
                f"| {name} | {scenario} | {len(right)} |"
                f" {'' if chance is None else f'{100 * chance:.0f}'} | {100 * right.mean():.1f} |"
                f" {100 * interval.low:.1f} to {100 * interval.high:.1f} | {margin:.2f} |",
                flush=True,
            )
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    arguments = sys.argv[1:] or ["builtin:smollm2-135m-instruct"]
    main(arguments[0], arguments[1:])
