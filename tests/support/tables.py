"""Tables of judged answers: right or wrong ones, and predictions about people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comptrust.trust import base
from comptrust.trust.base import Table
from comptrust.trust.contrast import Contrast


def table(scenario: Sequence[str], cluster: Sequence[str], correct: Sequence[float]) -> Table:
    names = [np.array(column, dtype=object) for column in (range(len(cluster)), scenario, cluster)]
    values = np.array(correct, dtype=float)
    return Table(*names, answer=names[0], refusal=np.zeros(len(values)), values={"correct": values})


def contrast(dense: Table, lost: Sequence[float]) -> Contrast:
    dimension = base.get("adv_robustness")
    ours = table(dense.scenario, dense.cluster, dense.values["correct"] - np.array(lost))
    return dimension.contrast(ours, dense)


def people(prediction: np.ndarray, *, settings: int = 2) -> Table:
    """Return eight people in each setting, two of each sex and label."""
    index = np.arange(8 * settings)
    names = np.array([f"zero_shot_br_{i // 8}" for i in index], dtype=object)
    values = {
        "prediction": prediction.astype(float),
        "label": (index // 2 % 2).astype(float),
        "sensitive": (index % 2).astype(float),
    }
    return Table(index.astype(object), names, index.astype(object), names, 0.0 * index, values)
