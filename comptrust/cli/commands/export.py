"""`comptrust export`: hand a registered checkpoint over, with its evidence."""

from pathlib import Path

import click

from comptrust.cli import complete
from comptrust.cli.options import end, json_option, no_fail_option, print_result
from comptrust.errors import Exit
from comptrust.text_tables import counted


@click.command("export")
@click.argument("ref", shell_complete=complete.versions)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Also write a checkpoint whose verdict is not a pass.")
@no_fail_option
@json_option
def command(ref: str, folder: Path, force: bool, no_fail: bool, as_json: bool) -> None:
    """Write a judged checkpoint and its evidence to a folder.

    REF is models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/ALIAS. The files are hashed
    again and must be the ones that were judged. FOLDER also gets verdict.json, scorecard.json and
    suite.json; attestation.json, claims.jsonl and model.sig, if the verdict is signed; README.md,
    the model card, with the metadata that Hugging Face reads; bom.cdx.json, a CycloneDX bill of
    materials; and evidence-map.md, which file answers which item of the EU AI Act and NIST AI RMF.

    Exit 0 if the verdict passes. If it does not, nothing is written without --force, and the exit
    code is 1 if it blocks and 3 if it is inconclusive.

    \b
    Example:
      comptrust export models:/smollm2-135m-instruct/champion out/champion
    """
    from comptrust.workflow import handover

    done = handover.export(ref, folder, force=force)
    fields = {
        "version": done.version,
        "folder": str(folder),
        "outcome": done.outcome,
        "digest": done.digest,
    }
    written = f"written to {folder}" if done.written else "not written; --force writes it"
    files = f"{counted(done.n_files, 'file')} verified"
    text = f"{done.version}: {files}, verdict {done.outcome}, {written}"
    print_result(text, fields | {"written": done.written}, as_json=as_json, indent=None)
    if not no_fail:
        end(Exit.of(done.outcome))
