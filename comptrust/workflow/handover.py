"""Hand a registered checkpoint over: the judged files, their evidence, and what describes them."""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from comptrust import claims, config, digests
from comptrust.claims import bundles
from comptrust.compression import checkpoint
from comptrust.errors import UserError
from comptrust.gate.signing import attestations, keys
from comptrust.models import presets
from comptrust.records import Checkpoint, Verdict
from comptrust.report import bom, evidence_map, model_card
from comptrust.report.bundle import Bundle
from comptrust.tracking import evaluations, promotion, registry, runs
from comptrust.trust.evaluation import Evaluation

ANSWERS = "generations"
"""What is signed but not handed over."""
EVIDENCE = (
    *(name for name in attestations.EVALUATION if name != ANSWERS),
    *(attestations.VERDICT, attestations.NAME, claims.CLAIMS, claims.MODEL_SIGNATURE),
)
"""What is copied from the run, byte by byte; checkpoint.json goes into the folder `model`."""
CARD = "README.md"


@dataclass(frozen=True)
class Handover:
    """What was written."""

    version: str
    outcome: str
    digest: str
    n_files: int
    written: bool
    """False if the verdict is not a pass and nobody insisted."""


def export(ref: str, folder: Path, *, force: bool = False) -> Handover:
    """Write a version's checkpoint, verdict and model card to a folder that does not exist yet.

    The files must be those that were judged. The folder appears whole or not at all, signed if
    there is a key, and only with `force` if the verdict is no pass. Raises UserError without one.
    """
    key = keys.signing_key()
    version = registry.resolve(full_reference(ref))
    checkpoint.check_free(folder)
    measured = evaluations.load(version.ref)
    with checkpoint.beside(folder) as hidden, tempfile.TemporaryDirectory() as temporary:
        evidence = runs.download(version.run_id, into=Path(temporary), only=EVIDENCE)
        if not (evidence / "verdict.json").exists() or measured.checkpoint is None:
            raise UserError(
                f"{version.ref} has no verdict to hand over. Judge it first: comptrust gate"
                f" {version.ref} --record"
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
        done = Handover(
            version.ref,
            verdict.outcome,
            record.digest,
            len(files),
            written=force or verdict.outcome == "pass",
        )
        if not done.written:
            return done
        out = hidden / "out"
        out.mkdir()
        model.rename(out / "model")
        (evidence / checkpoint.NAME).rename(out / "model" / checkpoint.NAME)
        for path in evidence.iterdir():
            shutil.copy(path, out)
        listed = _describe(out, version, measured, verdict, hashes=files)
        if key and attestations.NAME in listed:
            bundles.sign(out, listed, key)
        if folder.is_dir():
            folder.rmdir()  # empty, or we would have refused it
        out.rename(folder)
    return done


def _describe(
    out: Path,
    version: registry.Version,
    measured: Evaluation,
    verdict: Verdict,
    *,
    hashes: dict[str, str],
) -> dict[str, str]:
    """Write card, bill of materials and map; return path -> SHA-256 of the whole bundle."""
    assert measured.checkpoint is not None
    signed, recipe = out / attestations.NAME, measured.checkpoint.recipe
    attestation = attestations.read(signed) if signed.exists() else None
    signature, signer = out / claims.MODEL_SIGNATURE, attestation.key_id if attestation else ""
    # One of an earlier verdict, which was signed with another key, stays on the run.
    if signature.exists() and f'"keyid":"{signer}"' not in config.read_text(signature):
        signature.unlink()
    copied = [path for path in out.iterdir() if path.is_file()]
    copied.append(out / "model" / checkpoint.NAME)
    files = {f"model/{name}": digest for name, digest in hashes.items()}
    files |= {path.relative_to(out).as_posix(): digests.of_file(path) for path in copied}
    configuration = out / "model" / "config.json"
    bundle = Bundle(
        version=version,
        measured=measured,
        verdict=verdict,
        attestation=attestation,
        config=config.read_json(configuration) if configuration.exists() else {},
        license=presets.license_of(recipe, folder=out / "model"),
        hub_id=presets.hub_id(recipe.base_model),
        files=files,
    )
    texts = {CARD: model_card.render(bundle), bom.NAME: bom.render(bundle)}
    texts[evidence_map.NAME] = evidence_map.render(bundle, {*files, *texts})
    for name, text in texts.items():
        digests.write_atomic(out / name, text)
    return files | {name: digests.of_text(text) for name, text in texts.items()}


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
    changed = sorted(
        name
        for name in files.keys() | record.manifest.keys()
        if files.get(name) != record.manifest.get(name)
    )
    if changed:
        return f"changed: {', '.join(changed)}"
    digest = digests.of_value(record.manifest)
    same_scores = verdict.scorecard_digest in measured.scorecard.digests
    if verdict.checkpoint_digest != digest or not same_scores:
        return "its verdict is about other files or scores"
    return None
