"""Earlier signed blocks of the same bytes, in whatever run of the tracking store they are."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.utils import get_results_from_paginated_fn

from comptrust.errors import UserError
from comptrust.gate.enforcement import files
from comptrust.gate.signing import attestations, keys
from comptrust.records import Scorecard
from comptrust.trust import evaluation
from comptrust.trust.evaluation import Evaluation

PER_PAGE = 1000


def find(
    client: MlflowClient,
    checkpoint_digest: str,
    *,
    but: str,
    also: Iterable[str | None],
    trusted: keys.Trusted,
) -> tuple[Evaluation, ...]:
    """Return the blocked evaluations of a checkpoint in all runs `but` one.

    Deleted runs count, and so do the runs named in `also`, whatever their tags say. Only verdicts
    that a trusted key signed count. Where the answers are no longer the signed ones, the evaluation
    has none, so that no other can be shown to ask more.
    """
    run_ids = dict.fromkeys([*filter(None, also), *_runs(client, checkpoint_digest)])
    found = (_block(client, run, checkpoint_digest, trusted) for run in run_ids if run != but)
    return tuple(filter(None, found))


def _runs(client: MlflowClient, checkpoint_digest: str) -> list[str]:
    experiments = get_results_from_paginated_fn(
        lambda size, token: client.search_experiments(ViewType.ALL, size, page_token=token),
        PER_PAGE,
    )
    query = f"tags.checkpoint_digest = '{checkpoint_digest}'"
    places = [experiment.experiment_id for experiment in experiments]
    runs = get_results_from_paginated_fn(
        lambda size, token: client.search_runs(
            places, query, ViewType.ALL, max_results=size, page_token=token
        ),
        PER_PAGE,
    )
    return [run.info.run_id for run in runs]


def _block(
    client: MlflowClient, run_id: str, checkpoint_digest: str, trusted: keys.Trusted
) -> Evaluation | None:
    """Return the evaluation of a run if a trusted key signed a block of the checkpoint on it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        uri = client.get_run(run_id).info.artifact_uri
        names = (attestations.NAME, *files.recorded(uri))
        files.fetch(uri, names, folder)
        found = filter(None, (_proven(folder / name, trusted) for name in names))
        blocks = (
            signed
            for signed in found
            if (signed.run_id, signed.verdict.checkpoint_digest) == (run_id, checkpoint_digest)
            and (signed.verdict.outcome, signed.verdict.stages) == ("block", True)
        )
        if (signed := next(blocks, None)) is None:
            return None
        files.fetch(uri, tuple(signed.files.get("candidate", ())), folder)
        changes = attestations.changes(signed, {"candidate": folder})
        ref = f"runs:/{run_id}"
        # Another verdict may have been recorded since; what counts are the answers.
        others = (attestations.VERDICT, "baseline/")
        if any(not str(change.file).startswith(others) for change in changes):
            return Evaluation(ref, _unknown(checkpoint_digest))
        return evaluation.load(folder, ref=ref)


def _proven(path: Path, trusted: keys.Trusted) -> attestations.Attestation | None:
    """Return the attestation in a file if a trusted key signed it."""
    try:
        signed = attestations.read(path)
    except UserError:  # there is none, or anybody's text
        return None
    return signed if keys.proven(signed, trusted) else None


def _unknown(checkpoint_digest: str) -> Scorecard:
    return Scorecard(
        checkpoint_digest=checkpoint_digest,
        suite_digest="",
        rendering_digest="",
        generations={},
        scores=(),
        provenance={},
    )
