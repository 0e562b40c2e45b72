"""Earlier signed blocks of the same bytes, in whatever run of the tracking store they are.

The block of another evaluation counts in the candidate's own run as in any other.

Anybody may log runs that claim these bytes, so a file is parsed only if it names what a true one
names, and is remembered by its SHA-256.
"""

import contextlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.utils import get_results_from_paginated_fn

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement import files
from comptrust.gate.enforcement.places import Places
from comptrust.gate.signing import attestations, keys, provenance
from comptrust.gate.signing.attestations import Attestation
from comptrust.trust import evaluation
from comptrust.trust.evaluation import Evaluation

PER_PAGE = 1000
MAX_RUNS = 10_000
"""Runs that may claim the same bytes; among more, a block would not be looked for."""
MAX_PARSED_BYTES = 8 << 20
"""Parsed for one promotion: at most 4 s of processor time. The next one goes on with the others."""
MAX_REMEMBERED = 2 * MAX_RUNS
CLEAR = "Delete the tag checkpoint_digest of those that are not its evaluations"


class Blocks:
    """Finds earlier blocks."""

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], Attestation | None] = {}
        """SHA-256 of a file, its run and what is looked for -> the block that it proves."""

    def find(
        self,
        places: Places,
        checkpoint: str,
        *,
        but: str,
        also: Iterable[str | None],
        trusted: keys.Trusted,
    ) -> tuple[Attestation, ...]:
        """Return the blocks of a checkpoint (its digest) `but` that of one evaluation.

        The newest run comes first. Deleted runs count, and so do the runs named in `also`,
        whatever their tags say. Only verdicts that a trusted key signed count. Raises UserError if
        too many runs claim the checkpoint to look at all of them now.
        """
        client = places.tracking()
        runs = {run_id: client.get_run(run_id) for run_id in filter(None, also)}
        runs |= {run.info.run_id: run for run in _claiming(client, checkpoint)}
        gates = frozenset(name for name, key in trusted.items() if "gate" in key.grant.roles)
        room = MAX_PARSED_BYTES
        blocks: dict[str, Attestation] = {}
        with tempfile.TemporaryDirectory() as temporary:
            paths = [
                (run_id, path)
                for run_id, run in runs.items()
                for path in _attestations_of(run, places, Path(temporary, run_id))
            ]
            if len(paths) > MAX_RUNS:
                raise UserError(
                    f"More than {MAX_RUNS} files claim the checkpoint {checkpoint[:12]}. {CLEAR},"
                    " then try again."
                )
            for run_id, path in paths:
                key = (places.memory.of_file(path), run_id, checkpoint, gates)
                if key not in self._seen:
                    content = path.read_bytes()
                    named = run_id.encode() in content and checkpoint.encode() in content
                    named = named and any(name.encode() in content for name in gates)
                    room -= len(content) if named else 0
                    if room < 0:
                        raise UserError(
                            f"{len(runs)} runs claim the checkpoint {checkpoint[:12]}, more"
                            f" than are read at once. Try again, which reads more. {CLEAR}."
                        )
                    while len(self._seen) >= MAX_REMEMBERED:
                        self._seen.pop(next(iter(self._seen)), None)
                    self._seen[key] = _block(path, run_id, checkpoint, trusted) if named else None
                if signed := self._seen[key]:
                    blocks.setdefault(evaluated_as(signed), signed)
        blocks.pop(but, None)
        return tuple(blocks.values())


def name_of(run_id: str, files: Mapping[str, str]) -> str:
    """Return what is equal for verdicts on one evaluation, of which `files` are the SHA-256."""
    return digests.of_value([run_id, files.get("scorecard.json")])


def evaluated_as(signed: Attestation) -> str:
    """Return the name of the evaluation that a verdict is about."""
    return name_of(signed.run_id, signed.files.get("candidate", {}))


def evaluation_of(signed: Attestation, places: Places, temporary: Path) -> Evaluation:
    """Fetch what was blocked, without answers unless they are as signed."""
    folder = temporary / "blocked" / signed.run_id
    with contextlib.suppress(UserError):  # somebody made its files unreadable since
        places.fetch(signed.run_id, tuple(signed.files.get("candidate", ())), folder)
    return evaluated(signed, folder)


def evaluated(signed: Attestation, folder: Path) -> Evaluation:
    """Return a blocked evaluation from a folder, without answers unless they are as signed.

    Without answers, no other evaluation can be shown to ask more.
    """
    ref, needless = f"runs:/{signed.run_id}", ("baseline/", attestations.VERDICT)
    with contextlib.suppress(UserError):
        changes = attestations.changes(signed, {"candidate": folder})
        if all(str(change.file).startswith(needless) for change in changes):
            return evaluation.load(folder, ref=ref)
    return evaluation.unknown_answers(ref, signed.verdict.checkpoint_digest)


def is_block(signed: Attestation, checkpoint_digest: str, trusted: keys.Trusted) -> bool:
    """Whether a trusted key signed that a checkpoint is blocked, for evaluations of these bytes.

    Answers that no key measured are anybody's, so they block nothing.
    """
    verdict, key = signed.verdict, trusted.get(signed.key_id)
    if key is None or not verdict.stages or verdict.outcome != "block":
        return False
    unmeasured = any(
        finding.rule == provenance.RULE and finding.outcome != "pass"
        for finding in verdict.findings
    )
    same = {verdict.checkpoint_digest, digests.of_value(signed.weights)} == {checkpoint_digest}
    day = signed.issued.date()
    if unmeasured or not same or key.refusal("gate", model=signed.model, today=day):
        return False
    return keys.proven(signed, trusted)  # last: it takes longest, and anybody may log a thousand


def _claiming(client: MlflowClient, checkpoint: str) -> list[Run]:
    """Return the runs whose tag claims a checkpoint, newest first."""
    experiments = get_results_from_paginated_fn(
        lambda size, token: client.search_experiments(ViewType.ALL, size, page_token=token),
        PER_PAGE,
    )
    places = [experiment.experiment_id for experiment in experiments]
    runs: list[Run] = get_results_from_paginated_fn(
        lambda size, token: client.search_runs(
            places,
            f"tags.checkpoint_digest = '{checkpoint}'",
            ViewType.ALL,
            max_results=size,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        ),
        PER_PAGE,
        MAX_RUNS + 1,
    )
    if len(runs) > MAX_RUNS:
        raise UserError(
            f"More than {MAX_RUNS} runs claim the checkpoint {checkpoint[:12]}. {CLEAR}, then try"
            " again."
        )
    return runs


def _attestations_of(run: Run, places: Places, temporary: Path) -> list[Path]:
    """Return the attestations of a run, also recorded ones, without any that is never read."""
    uri = run.info.artifact_uri
    folder = files.local(uri)
    if folder is None and files.in_server() and not places.vouched(uri):
        return []  # anybody may name a place that cannot be read, or only slowly
    try:
        names = (attestations.NAME, *files.recorded(uri))
        if folder is None:
            folder = places.fetch(run.info.run_id, names, temporary)
    except UserError:
        return []
    paths = (folder / name for name in names)
    return [
        path for path in paths if path.is_file() and path.stat().st_size <= attestations.MAX_BYTES
    ]


def _block(path: Path, run_id: str, checkpoint: str, trusted: keys.Trusted) -> Attestation | None:
    """Return what a trusted key signed if it is a block of the checkpoint on this run."""
    with contextlib.suppress(UserError):  # anybody's text
        signed = attestations.read(path)
        if signed.run_id == run_id and is_block(signed, checkpoint, trusted):
            return signed
    return None
