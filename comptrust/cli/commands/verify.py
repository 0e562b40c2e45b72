"""`comptrust verify`: check a version against its signed verdict, down to every byte of its
weights.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click

from comptrust.cli.options import json_option


@click.command("verify")
@click.argument("ref", metavar="MODEL")
@click.option(
    "--keys",
    "trusted",
    type=click.Path(path_type=Path),
    help="Public key, or folder of them  [default: the keys folder].",
)
@json_option
def command(ref: str, trusted: Path | None, as_json: bool) -> None:
    """Check MODEL (models:/NAME/VERSION): its signature, weights, scores, answers and verdict, and
    the dense source's.

    Exit 0: signed by a trusted key, not expired, every byte as signed, and the verdict passes. 1:
    something was changed, or the verdict blocks. 3: not signed, expired, signed by an unknown key,
    or the verdict is inconclusive.

    Example: comptrust verify models:/smollm2-135m-instruct/2
    """
    from comptrust.gate.signing import keys
    from comptrust.tracking import registry
    from comptrust.workflow import signatures

    public = keys.load_public_keys(trusted)
    version = registry.resolve(ref)
    with tempfile.TemporaryDirectory() as folder:
        registered = registry.download_all(version.ref, into=Path(folder))
        attestation, found = signatures.check(version, registered=registered, trusted=public)
    failed = any(one.kind in ("changed", "block") for one in found)
    outcome = "block" if failed else "inconclusive" if found else "pass"
    if as_json:
        brief = (
            {}
            if attestation is None
            else attestation.model_dump(
                mode="json",
                include={"key_id", "model", "run_id", "baseline_run_id", "issued", "expires"},
            )
        )
        problems = [one.model_dump(mode="json") for one in found]
        click.echo(
            json.dumps(
                {
                    "model": version.ref,
                    "outcome": outcome,
                    "problems": problems,
                    "attestation": brief or None,
                },
                indent=2,
            )
        )
    else:
        for one in found:
            click.echo(f"{one.kind}: {one.text}")
        if attestation and not found:
            n = len(attestation.artifact) + sum(map(len, attestation.files.values()))
            verdict = attestation.verdict
            click.echo(
                f"{version.ref}: all {n} files are as key {attestation.key_id} signed them on"
                f" {attestation.issued:%Y-%m-%d}."
            )
            click.echo(
                f"verdict: {verdict.outcome} under policy {verdict.policy}, valid until"
                f" {attestation.expires:%Y-%m-%d %H:%M} UTC"
            )
    sys.exit({"pass": 0, "block": 1, "inconclusive": 3}[outcome])
