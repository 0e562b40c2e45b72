"""`comptrust export`: hand a registered checkpoint over, with its evidence."""

from pathlib import Path

import click

from comptrust.cli.options import json_option, print_result


@click.command("export")
@click.argument("ref")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def command(ref: str, folder: Path, as_json: bool) -> None:
    """Write a judged checkpoint and its evidence to a folder.

    REF is models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/ALIAS. The files are hashed
    again and must be the ones that were judged. FOLDER also gets verdict.json, scorecard.json and
    suite.json; attestation.json, claims.jsonl and model.sig, if the verdict is signed; README.md,
    the model card, with the metadata that Hugging Face reads; bom.cdx.json, a CycloneDX bill of
    materials; and evidence-map.md, which file answers which item of the EU AI Act and NIST AI RMF.

    \b
    Example:
      comptrust export models:/smollm2-135m-instruct/champion out/champion
    """
    from comptrust.workflow import handover

    done = handover.export(ref, folder)
    fields = {
        "version": done.version,
        "folder": str(folder),
        "outcome": done.outcome,
        "digest": done.digest,
    }
    text = (
        f"{done.version}: {done.n_files} files verified, verdict {done.outcome}, written to"
        f" {folder}"
    )
    print_result(text, fields, as_json=as_json, indent=None)
