"""Gather what a promotion rests on, and keep a copy of it."""

from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import LifecycleStage
from mlflow.utils import get_results_from_paginated_fn

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement.evidence_store import EvidenceStore
from comptrust.gate.enforcement.needed import CLAIMS
from comptrust.gate.enforcement.places import Places
from comptrust.gate.policy import Policy
from comptrust.gate.signing import waivers
from comptrust.gate.signing.attestations import Attestation

PER_PAGE = 100
MAX_MODELS = 1000
"""Logged models of a run that are protected; the first ones, since anybody may add others."""


def keep(
    store: EvidenceStore | None,
    attestation: Attestation,
    judged: Path,
    siblings: Mapping[str, str],
    policy: Policy,
    places: Places,
) -> str | None:
    """Keep what was fetched to judge an attestation, and return the index's digest.

    `siblings` are reference -> run. What the gate wrote in other forms is fetched too. Raises
    UserError if one of the runs was deleted, ServiceError if the files cannot be written.
    """
    if store is None:
        return None  # without a log nothing is promoted
    runs = {"candidate": attestation.run_id, **siblings}
    if attestation.baseline_run_id:
        runs["baseline"] = attestation.baseline_run_id
    places.fetch(attestation.run_id, (*CLAIMS, waivers.NAME), judged / "signed")
    folders = [("candidate", judged / "signed")] + [
        (role, judged / (digests.of_text(role) if role in siblings else role)) for role in runs
    ]
    files = {
        f"{role}/{path.relative_to(folder).as_posix()}": path
        for role, folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    models = {model for run in runs.values() for model in _models(places, run)}
    return store.keep(
        files, runs=runs, models=tuple(sorted(models)), policy=digests.canonical(policy.fields)
    )


def is_whole(store: EvidenceStore | None, digest: str) -> bool:
    """Whether the evidence that was kept is still there."""
    try:
        return store is None or not any(store.damage(store.index(digest)))
    except UserError:
        return False


def _models(places: Places, run_id: str) -> list[str]:
    """Return the logged models of a run."""
    client, info = places.tracking(), places.run(run_id)
    if info.lifecycle_stage == LifecycleStage.DELETED:
        raise UserError(
            f"The run {run_id} that it rests on was deleted. Restore it: MlflowClient.restore_run."
        )
    models = get_results_from_paginated_fn(
        lambda size, token: client.search_logged_models(
            [info.experiment_id],
            f"source_run_id = '{run_id}'",
            max_results=size,
            order_by=[{"field_name": "creation_timestamp", "ascending": True}],
            page_token=token,
        ),
        PER_PAGE,
        MAX_MODELS,
    )
    return [model.model_id for model in models]
