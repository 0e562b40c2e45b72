"""The gate signs a verdict together with the bytes behind it."""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path

from comptrust import config
from comptrust.errors import UserError
from comptrust.gate.evidence import Evidence
from comptrust.gate.signing import attestations, keys, provenance, waivers
from comptrust.gate.signing.attestations import Attestation
from comptrust.records import Verdict
from comptrust.trust import evaluation


def attest(
    verdict: Verdict,
    evidence: Evidence,
    *,
    artifacts: Mapping[str, Path],
    run_ids: Mapping[str, str],
    model: str,
    key: keys.PrivateKey,
    days: int,
    registered: Path | None = None,
    now: datetime.datetime | None = None,
) -> Attestation:
    """Sign a verdict together with the bytes behind it, for `days` days.

    It expires earlier if a waiver that it relies on does. `artifacts` are folders with the logged
    files and `run_ids` their runs, for `candidate` and, if there is one, `baseline`. `registered`
    is the folder of the registered version, with the checkpoint in it or in its folder `model`.
    Raises UserError if the files are not the judged ones or the candidate's weights are unknown.
    """
    # What did not count is anybody's, who could change it later.
    left_out = provenance.left_out(verdict.findings)
    issued = (now or datetime.datetime.now(datetime.UTC)).replace(microsecond=0)
    both = {"candidate": evidence.candidate, "baseline": evidence.baseline}
    judged = {role: memory for role, memory in both.items() if memory}
    checkpoint = evidence.candidate.checkpoint
    if checkpoint is None:
        raise UserError(
            "Nothing is signed: the candidate's weights are not known (no checkpoint.json)."
            " Compress and evaluate it."
        )
    # Between judging and here the files could have changed, or another verdict been logged.
    for role, memory in judged.items():
        evaluated = evaluation.load(artifacts[role], ref=memory.ref)
        # Answers need no comparison: loading checks them against the scorecard's digests.
        before, after = (
            (one.generations.keys(), one.control, attestations.summary(one))
            for one in (memory, evaluated)
        )
        if before != after:
            raise UserError(
                f"Nothing is signed: the files of {memory.ref} changed while it was judged. Gate it"
                " again."
            )
    logged = config.read_json(artifacts["candidate"] / attestations.VERDICT)
    if logged != json.loads(verdict.model_dump_json()):
        raise UserError(
            f"Nothing is signed: someone else judged {evidence.candidate.ref} in the meantime. Gate"
            " it again."
        )
    artifact = attestations.held_by(registered) if registered else {}
    weights = _weights_of(artifact) if registered else checkpoint.manifest
    for problem in attestations.compare(checkpoint.manifest, weights):
        raise UserError(
            f"Nothing is signed: the registered files are not the judged ones. {problem} Register"
            " it again."
        )
    midnight = datetime.time(tzinfo=datetime.UTC)
    ends = [
        datetime.datetime.combine(waiver.until, midnight) + attestations.DAY
        for waiver in waivers.accepted(verdict.findings)
    ]
    unsigned = Attestation(
        verdict=verdict,
        model=model,
        run_id=run_ids["candidate"],
        baseline_run_id=run_ids.get("baseline"),
        weights=checkpoint.manifest,
        files={role: attestations.signed_files(artifacts[role], role) for role in judged},
        scorecards={role: judged[role].scorecard.digest_of_fields() for role in judged},
        siblings={
            sibling.ref: attestations.summary(sibling)
            for sibling in evidence.siblings
            if sibling.ref not in left_out
        },
        artifact=artifact,
        issued=issued,
        expires=min([issued + days * attestations.DAY, *ends]),
    )
    return keys.sign(unsigned, key)


def _weights_of(artifact: Mapping[str, str]) -> dict[str, str]:
    """Return the checkpoint's files among those of a registered version.

    They are in its folder `model` or, without one, all files but checkpoint.json.
    """
    prefix = "model/" if any(name.startswith("model/") for name in artifact) else ""
    return {
        name.removeprefix(prefix): digest
        for name, digest in artifact.items()
        if name.startswith(prefix) and name != f"{prefix}checkpoint.json"
    }
