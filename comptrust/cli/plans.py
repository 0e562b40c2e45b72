"""The plan that `run` and `register` share: options become checked inputs of the job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comptrust.records import Recipe, Scoring
    from comptrust.workflow.job import Plan


def plan(
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
) -> Plan:
    """Load the suite, the policy and the keys, and make sure that the dense model can be had.

    `existing` is the folder or Hugging Face id of a model that is already compressed.
    Raises UserError or ServiceError for the first that cannot be used, before any work starts.
    """
    from comptrust.gate import policy as policies
    from comptrust.models import sources
    from comptrust.trust import suite as suites
    from comptrust.workflow import job, signatures

    plan = job.Plan(
        recipe=recipe,
        suite=suites.load(suite, dimensions=dimensions, scoring=scoring, limit=limit),
        suite_name=suite,
        policy=policies.load(policy or policies.DEFAULT),
        signer=signatures.Signer.load(),
        batch_size=batch_size,
        promote_to=promote_to,
        out=out,
        existing=Path(sources.resolve(existing).path) if existing else None,
    )
    sources.resolve(recipe.base_model)
    return plan
