"""Earlier signed blocks of the same bytes, in whatever run of the tracking store they are."""

import contextlib
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.utils import get_results_from_paginated_fn

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate import measured
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
    roots: Sequence[str] = (),
) -> tuple[Evaluation, ...]:
    """Return the blocked evaluations of a checkpoint in all runs `but` one.

    Deleted runs count, and so do the runs named in `also`, whatever their tags say. Only verdicts
    that a trusted key signed count; a server reads them in its own folder and in `roots`. Where the
    answers are no longer the signed ones, the evaluation has none, so that no other can be shown to
    ask more.
    """
    named = [client.get_run(run_id) for run_id in also if run_id]
    places = {
        run.info.run_id: run.info.artifact_uri
        for run in (*named, *_runs(client, checkpoint_digest))
        if run.info.run_id != but
    }
    found = (
        _block(run_id, uri, checkpoint_digest, trusted, roots) for run_id, uri in places.items()
    )
    return tuple(filter(None, found))


def _runs(client: MlflowClient, checkpoint_digest: str) -> list[Run]:
    experiments = get_results_from_paginated_fn(
        lambda size, token: client.search_experiments(ViewType.ALL, size, page_token=token),
        PER_PAGE,
    )
    query = f"tags.checkpoint_digest = '{checkpoint_digest}'"
    places = [experiment.experiment_id for experiment in experiments]
    return list(
        get_results_from_paginated_fn(
            lambda size, token: client.search_runs(
                places, query, ViewType.ALL, max_results=size, page_token=token
            ),
            PER_PAGE,
        )
    )


def _block(
    run_id: str, uri: str, checkpoint_digest: str, trusted: keys.Trusted, roots: Iterable[str]
) -> Evaluation | None:
    """Return the evaluation of a run if a trusted key signed a block of the checkpoint on it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, place = Path(temporary), files.local(uri)
        if files.in_server() and not (place or any(files.below(uri, root) for root in roots)):
            return None  # anybody may name a place that cannot be read, or only slowly
        try:
            place = place or files.fetch(uri, (attestations.NAME,), folder)
            signed = attestations.read(place / attestations.NAME)
        except UserError:  # there is none, or anybody's text
            return None
        if signed.run_id != run_id or not is_block(signed, checkpoint_digest, trusted):
            return None
        with contextlib.suppress(UserError):  # somebody made its files unreadable since
            files.fetch(uri, tuple(signed.files.get("candidate", ())), folder)
        return evaluated(signed, folder)


def evaluated(signed: attestations.Attestation, folder: Path) -> Evaluation:
    """Return a blocked evaluation from a folder, without answers unless they are as signed."""
    ref, needless = f"runs:/{signed.run_id}", ("baseline/", attestations.VERDICT)
    with contextlib.suppress(UserError):
        changes = attestations.changes(signed, {"candidate": folder})
        if all(str(change.file).startswith(needless) for change in changes):
            return evaluation.load(folder, ref=ref)
    return Evaluation(ref, _unknown(signed.verdict.checkpoint_digest))


def is_block(
    signed: attestations.Attestation, checkpoint_digest: str, trusted: keys.Trusted
) -> bool:
    """Whether a trusted key signed that a checkpoint is blocked, for evaluations of these bytes.

    Answers that no key measured are anybody's, so they block nothing.
    """
    verdict = signed.verdict
    if not keys.proven(signed, trusted) or not verdict.stages or verdict.outcome != "block":
        return False
    key, day = trusted[signed.key_id], signed.issued.date()
    unmeasured = any(
        finding.rule == measured.RULE and finding.outcome != "pass" for finding in verdict.findings
    )
    same = {verdict.checkpoint_digest, digests.of_value(signed.weights)} == {checkpoint_digest}
    return same and not unmeasured and not key.refusal("gate", model=signed.model, today=day)


def _unknown(checkpoint_digest: str) -> Scorecard:
    return Scorecard(
        checkpoint_digest=checkpoint_digest,
        suite_digest="",
        rendering_digest="",
        generations={},
        scores=(),
        provenance={},
    )
