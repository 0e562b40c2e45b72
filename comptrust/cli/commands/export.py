"""`comptrust export`: hand a registered checkpoint over, with its verdict and a model card."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

import click

from comptrust import config, digests
from comptrust.cli.options import json_option
from comptrust.errors import UserError
from comptrust.records import Verdict

EVIDENCE = ("verdict.json", "attestation.json", "scorecard.json")


@click.command("export")
@click.argument("ref")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def command(ref: str, folder: Path, as_json: bool) -> None:
    """Write the checkpoint of REF (models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/ALIAS)
    to FOLDER.

    Its files are hashed again and must be the ones that were judged. Beside them: verdict.json,
    attestation.json if the verdict is signed, scorecard.json, and README.md, the model card.

    Example: comptrust export models:/smollm2-135m-instruct/champion out/champion
    """
    from comptrust.compression import checkpoint
    from comptrust.gate.signing import attestations
    from comptrust.report import model_card
    from comptrust.tracking import evaluations, registry, runs

    version = registry.resolve(named(ref))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists already. Choose another folder or remove it.")
    measured = evaluations.load(version.ref)
    with checkpoint.beside(folder) as hidden, tempfile.TemporaryDirectory() as temporary:
        evidence = runs.download(version.run_id, into=Path(temporary), only=EVIDENCE)
        if not (evidence / "verdict.json").exists() or measured.checkpoint is None:
            raise UserError(
                f"{version.ref} has no verdict to hand over. Judge it first: comptrust gate"
                f" {version.ref}"
            )
        verdict = config.parse(
            json.loads(config.read_text(evidence / "verdict.json")), Verdict, where="verdict.json"
        )
        record = measured.checkpoint
        model = registry.download(version.ref, into=hidden / "registered")
        held = digests.of_folder(model, leave_out=[checkpoint.NAME])
        changed = sorted(
            name
            for name in held.keys() | record.manifest.keys()
            if held.get(name) != record.manifest.get(name)
        )
        judged = (verdict.checkpoint_digest, verdict.scorecard_digest)
        if changed or judged != (
            digests.of_value(record.manifest),
            measured.scorecard.digest_of_fields(),
        ):
            what = (
                f"changed: {', '.join(changed)}"
                if changed
                else "its verdict is about other files or scores"
            )
            raise UserError(
                f"{version.ref} is not what was judged ({what}). Nothing was written; evaluate and"
                " gate it again."
            )
        attestation = (
            attestations.read(evidence / attestations.NAME)
            if (evidence / attestations.NAME).exists()
            else None
        )
        out = hidden / "out"
        out.mkdir()
        model.rename(out / "model")
        digests.write_atomic(
            out / "model" / checkpoint.NAME, record.model_dump_json(indent=2) + "\n"
        )
        for name in EVIDENCE:
            if (evidence / name).exists():
                shutil.copy(evidence / name, out / name)
        digests.write_atomic(
            out / "README.md", model_card.render(version, measured, verdict, attestation)
        )
        if folder.is_dir():
            folder.rmdir()
        out.rename(folder)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "version": version.ref,
                    "folder": str(folder),
                    "outcome": verdict.outcome,
                    "digest": record.digest,
                }
            )
        )
    else:
        click.echo(
            f"{version.ref}: {len(held)} files verified, verdict {verdict.outcome}, written to"
            f" {folder}"
        )


def named(ref: str) -> str:
    """Return the reference with an alias after @, which models:/NAME/ALIAS, models:/NAME@ALIAS and
    the same without models:/ may name.

    >>> named("models:/tiny/champion"), named("tiny@champion"), named("models:/tiny/2")
    ('models:/tiny@champion', 'models:/tiny@champion', 'models:/tiny/2')
    """
    found = re.fullmatch(r"(?:models:/)?([^:/@]+)[/@]([^/@]+)", ref)
    if not found:
        raise UserError(
            f"'{ref}' is not models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/ALIAS."
        )
    name, rest = found.groups()
    return f"models:/{name}/{rest}" if rest.isdigit() else f"models:/{name}@{rest}"
