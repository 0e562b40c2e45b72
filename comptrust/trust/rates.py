"""Weighted means over scenarios, used by all dimensions."""

from collections.abc import Iterable, Sequence

import numpy as np

from comptrust.trust.base import Table, mean


def average(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return the plain mean of several results, each of shape (R,)."""
    means: np.ndarray = np.mean(np.stack(list(parts)), axis=0)
    return means


def over(
    table: Table, values: np.ndarray, scenarios: Sequence[str], weights: np.ndarray | None
) -> np.ndarray:
    """Return 100 times the plain mean over scenarios of each one's weighted mean, shape (R,)."""
    return average(100 * mean(values, table.where(name), weights) for name in scenarios)


def nested(
    table: Table, values: np.ndarray, groups: dict[str, list[str]], weights: np.ndarray | None
) -> np.ndarray:
    """Return 100 times the mean over groups of the mean over each group's scenarios, shape (R,)."""
    return average(over(table, values, scenarios, weights) for scenarios in groups.values())


def grouped(scenarios: Iterable[str]) -> dict[str, list[str]]:
    """Group scenarios by all but their last segment, the seed or run.

    `spurious/PP/entail-bias/42` goes into `spurious/PP/entail-bias`.
    """
    groups: dict[str, list[str]] = {}
    for scenario in scenarios:
        groups.setdefault(scenario.rpartition("/")[0], []).append(scenario)
    return groups
