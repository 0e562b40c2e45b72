"""Hand a registered checkpoint over: the judged files, their verdict and a model card."""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from comptrust import claims, digests
from comptrust.compression import checkpoint
from comptrust.errors import UserError
from comptrust.gate.signing import attestations
from comptrust.records import Checkpoint, Verdict
from comptrust.report import model_card
from comptrust.tracking import evaluations, promotion, registry, runs
from comptrust.trust.evaluation import Evaluation

EVIDENCE = (
    "verdict.json",
    "attestation.json",
    "scorecard.json",
    claims.CLAIMS,
    claims.MODEL_SIGNATURE,
)


@dataclass(frozen=True)
class Handover:
    """What was written."""

    version: str
    outcome: str
    digest: str
    n_files: int


def export(ref: str, folder: Path) -> Handover:
    """Write a version's checkpoint, verdict and model card to a folder that does not exist yet.

    The files are hashed again and must be those that were judged. The folder appears whole or not
    at all. Raises UserError for a version without a verdict, or whose files changed since.
    """
    version = registry.resolve(full_reference(ref))
    checkpoint.check_free(folder)
    measured = evaluations.load(version.ref)
    with checkpoint.beside(folder) as hidden, tempfile.TemporaryDirectory() as temporary:
        evidence = runs.download(version.run_id, into=Path(temporary), only=EVIDENCE)
        if not (evidence / "verdict.json").exists() or measured.checkpoint is None:
            raise UserError(
                f"{version.ref} has no verdict to hand over. Judge it first: comptrust gate"
                f" {version.ref}"
            )
        verdict = promotion.read(evidence, "verdict.json", Verdict)
        record = measured.checkpoint
        model = registry.download(version.ref, into=hidden / "registered")
        files = checkpoint.manifest(model)
        if change := _change(files, record, measured, verdict):
            raise UserError(
                f"{version.ref} is not what was judged ({change}). Nothing was written; evaluate"
                " and gate it again."
            )
        signed = evidence / attestations.NAME
        attestation = attestations.read(signed) if signed.exists() else None
        out = hidden / "out"
        out.mkdir()
        model.rename(out / "model")
        description = record.model_dump_json(indent=2) + "\n"
        digests.write_atomic(out / "model" / checkpoint.NAME, description)
        for path in evidence.iterdir():
            shutil.copy(path, out)
        digests.write_atomic(
            out / "README.md", model_card.render(version, measured, verdict, attestation)
        )
        if folder.is_dir():
            folder.rmdir()  # empty, or we would have refused it
        out.rename(folder)
    return Handover(version.ref, verdict.outcome, record.digest, len(files))


def full_reference(ref: str) -> str:
    """Return a reference as `models:/NAME/VERSION` or `models:/NAME@ALIAS`.

    >>> full_reference("models:/tiny/champion"), full_reference("tiny@champion")
    ('models:/tiny@champion', 'models:/tiny@champion')
    >>> full_reference("models:/tiny/2")
    'models:/tiny/2'
    """
    match = re.fullmatch(r"(?:models:/)?([^:/@]+)[/@]([^/@]+)", ref)
    if not match:
        raise UserError(
            f"'{ref}' is not models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/ALIAS."
        )
    name, selector = match.groups()
    return f"models:/{name}/{selector}" if selector.isdigit() else f"models:/{name}@{selector}"


def _change(
    files: dict[str, str], record: Checkpoint, measured: Evaluation, verdict: Verdict
) -> str | None:
    """Return what is not as it was judged, or None."""
    changed = sorted(
        name
        for name in files.keys() | record.manifest.keys()
        if files.get(name) != record.manifest.get(name)
    )
    if changed:
        return f"changed: {', '.join(changed)}"
    digest = digests.of_value(record.manifest)
    if (verdict.checkpoint_digest, verdict.scorecard_digest) != (
        digest,
        measured.scorecard.digest_of_fields(),
    ):
        return "its verdict is about other files or scores"
    return None
