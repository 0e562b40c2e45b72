"""The job of `run` and `register`: their options become its checked inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comptrust.records import Recipe, Scoring
    from comptrust.workflow.job import Job


def job(
    recipe: Recipe,
    *,
    suite: str,
    dimensions: Sequence[str] | None,
    limit: int | None,
    scoring: Scoring,
    batch_size: int | None,
    policy: str | None,
    promote_to: str | None = None,
    out: Path | None = None,
    existing: str | None = None,
    verify: bool = False,
) -> Job:
    """Load the suite, the policy and the keys, and make sure that the dense model can be had.

    `existing` is the folder or Hugging Face id of a model that is already compressed. `verify`
    hashes the models' files even if they are untouched since an earlier run.
    Raises UserError or ServiceError for the first that cannot be used, before any work starts.
    """
    from comptrust.gate import policy as policies
    from comptrust.models import sources
    from comptrust.trust import suite as suites
    from comptrust.workflow.job import Job

    return Job(
        recipe=recipe,
        suite=suites.load(suite, dimensions=dimensions, scoring=scoring, limit=limit),
        suite_name=suite,
        policy=policies.load(policy or policies.DEFAULT),
        batch_size=batch_size,
        promote_to=promote_to,
        out=out,
        existing=sources.resolve(existing, verify=verify) if existing else None,
        source=sources.resolve(recipe.base_model, verify=verify),
    )
