"""Whether the evaluations behind a signed pass count: who signed them, and of which files.

It needs neither the answers nor a store, so it is checked where a model is served too.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from comptrust import config
from comptrust.errors import UserError
from comptrust.gate.signing import attestations, keys, measurements
from comptrust.gate.signing.attestations import Attestation, Problem, unverified
from comptrust.gate.signing.roles import Role
from comptrust.records import Finding

RULE = "measured"
"""The name of the finding that says who signed the evaluations."""


def signers(findings: Sequence[Finding]) -> dict[str, str]:
    """Return reference -> key id of the measurements that a verdict rests on."""
    named = [one.evidence.get("signed_by", {}) for one in findings if one.rule == RULE]
    return {ref: key for each in named for ref, key in each.items()}


def left_out(findings: Sequence[Finding]) -> set[str]:
    """Return the references of the siblings that did not count in a verdict."""
    return {ref for one in findings if one.rule == RULE for ref in one.evidence.get("left_out", ())}


def problems(
    attestation: Attestation,
    folders: Mapping[str, Path],
    trusted: keys.Trusted,
    *,
    level: str | None,
) -> Iterator[Problem]:
    """Yield what keeps the evaluations behind a signed pass from counting, one line each.

    `folders` hold the measurement.json of `candidate` and, if it is there, `baseline`. That the
    other files are the signed ones is checked apart.
    """
    verdict = attestation.verdict
    if verdict.outcome != "pass":
        return
    scope = {"model": attestation.model, "level": level}
    judged = {"candidate": verdict.checkpoint_digest, "baseline": verdict.baseline_digest}
    for role, folder in folders.items():
        files = attestation.files.get(role, {})
        if why := _refusal(folder, files, judged[role], trusted, scope):
            yield unverified(f"The evaluation of the {role} {why}. Evaluate and gate it again.")
            return
    named = signers(verdict.findings)
    if not named:
        yield unverified("The verdict does not say who signed the evaluations. Gate it again.")
    for ref, name in named.items():
        # Which of the two it was is in measurement.json, which need not be here.
        roles: tuple[Role, ...] = ("evaluate", "import")
        why, *others = (keys.signer_refusal(name, role, trusted, **scope) for role in roles)
        if why and all(others):
            yield unverified(f"The evaluation {ref} behind it {why}. Evaluate and gate it again.")


def _refusal(
    folder: Path,
    signed: Mapping[str, str],
    checkpoint: str | None,
    trusted: keys.Trusted,
    scope: Mapping[str, str | None],
) -> str:
    """Return why a measurement does not prove the files that the gate signed; empty if it does."""
    path = folder / measurements.NAME
    try:
        if path.name not in signed:  # one that came later proves nothing
            raise UserError(f"the gate signed no {path.name}")
        measurement = measurements.parse(config.read_text(path))
    except UserError as error:
        return f"is not signed by the machine that evaluated it ({str(error).rstrip('.')})"
    if refused := keys.refusal(measurement, trusted, **scope):
        return refused
    files = {name: signed[name] for name in signed.keys() - attestations.NOT_MEASURED}
    change = measurements.first_change(measurement.files, files)
    if not change and measurement.checkpoint != checkpoint:
        change = f"{path.name} is of another checkpoint"
    return f"is not what key {measurement.key_id} signed: {change}" if change else ""
