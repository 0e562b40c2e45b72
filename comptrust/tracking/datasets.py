"""What a run read, as MLflow's datasets: the suite's prompts and the calibration texts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from comptrust.records import Recipe, Suite

if TYPE_CHECKING:
    from mlflow.entities import Dataset

DIGEST_CHARACTERS = 12
"""Characters of a digest that MLflow shows; its column has room for 36."""
HUB = ("path", "config_name", "split")
"""What the parts of hf:NAME:CONFIG:SPLIT are for MLflow."""
MAX_NAME_CHARACTERS = 500
"""The room for a name in MLflow."""


def suite(asked: Suite, *, spec: str) -> Dataset:
    """Return a suite as a dataset; `spec` is how the user named it."""
    return _dataset(
        asked.name, asked.digest, spec, rows=len(asked.prompts), revision=asked.revision
    )


def calibration(recipe: Recipe) -> Dataset | None:
    """Return the calibration texts of a compressed checkpoint; None if there were none."""
    source, digest = recipe.calibration, recipe.calibration_digest
    if source is None or digest is None:
        return None
    return _dataset(f"calibration {source}", digest, source, rows=recipe.calibration_samples)


def _dataset(name: str, digest: str, source: str, *, rows: int | None, **facts: str) -> Dataset:
    from mlflow.entities import Dataset

    kind, _, path = source.partition(":")
    is_hub = kind == "hf" and path
    return Dataset(
        name=name[:MAX_NAME_CHARACTERS],
        digest=digest[:DIGEST_CHARACTERS],
        source_type="hugging_face" if is_hub else "local",
        source=json.dumps(
            dict(zip(HUB, path.split(":"), strict=False)) if is_hub else {"uri": source, **facts}
        ),
        profile=None if rows is None else json.dumps({"num_rows": rows}),
    )
