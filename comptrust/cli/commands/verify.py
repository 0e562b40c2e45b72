"""`comptrust verify`: check a version against its signed verdict, down to every byte."""

import tempfile
from pathlib import Path

import click

from comptrust.cli.options import end, json_option, print_result
from comptrust.errors import Exit

SHOWN = {"key_id", "model", "run_id", "baseline_run_id", "issued", "expires"}
"""Fields of the attestation in the JSON result."""


@click.command("verify")
@click.argument("ref", metavar="MODEL")
@click.option(
    "--keys",
    "trusted",
    type=click.Path(path_type=Path),
    help="Public key, or folder of public keys  [default: the keys folder].",
)
@json_option
def command(ref: str, trusted: Path | None, as_json: bool) -> None:
    """Check a version against its signed verdict.

    MODEL is models:/NAME/VERSION. Its signature, weights, scores, answers and verdict are checked,
    and the scores and answers of its dense source.

    \b
    Exit codes:
      0  signed by a trusted key, not expired, every byte as signed,
         and the verdict passes
      1  something was changed, or the verdict blocks
      3  not signed, expired, signed by an unknown key,
         or the verdict is inconclusive

    \b
    Example:
      comptrust verify models:/smollm2-135m-instruct/2
    """
    from comptrust.gate.signing import keys
    from comptrust.tracking import registry
    from comptrust.workflow import signatures

    public = keys.load_public_keys(trusted)
    version = registry.resolve(ref)
    with tempfile.TemporaryDirectory() as folder:
        registered = registry.download_all(version.ref, into=Path(folder))
        attestation, problems = signatures.check(version, registered=registered, trusted=public)
    failed = any(problem.kind in ("changed", "block") for problem in problems)
    outcome = "block" if failed else "inconclusive" if problems else "pass"
    text = "\n".join(f"{problem.kind}: {problem.text}" for problem in problems)
    if attestation and not problems:
        n_files = len(attestation.artifact) + sum(map(len, attestation.files.values()))
        verdict = attestation.verdict
        text = (
            f"{version.ref}: all {n_files} files are as key {attestation.key_id} signed them on"
            f" {attestation.issued:%Y-%m-%d}.\n"
            f"verdict: {verdict.outcome} under policy {verdict.policy}, valid until"
            f" {attestation.expires:%Y-%m-%d %H:%M} UTC"
        )
    fields = {
        "model": version.ref,
        "outcome": outcome,
        "problems": [problem.model_dump(mode="json") for problem in problems],
        "attestation": attestation and attestation.model_dump(mode="json", include=SHOWN),
    }
    print_result(text, fields, as_json=as_json)
    end(Exit.of(outcome))
