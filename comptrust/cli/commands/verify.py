"""`comptrust verify`: check a version against its signed verdict, down to every byte."""

import dataclasses
import tempfile
from pathlib import Path

import click

from comptrust.cli.options import end, json_option, print_result
from comptrust.errors import Exit
from comptrust.records import Result

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
@click.option(
    "--serving",
    metavar="URL",
    help="Also compare engine, dtype and model of a running server (OpenAI API) with what was"
    " judged.",
)
@json_option
def command(ref: str, trusted: Path | None, serving: str | None, as_json: bool) -> None:
    """Check a version against its signed verdict.

    MODEL is models:/NAME/VERSION. Its signature, weights, scores, answers and verdict are checked,
    and the scores and answers of its dense source.

    \b
    Exit codes:
      0  signed by a trusted key, not expired, every byte as signed,
         and the verdict passes
      1  something was changed, the verdict blocks,
         or --serving: something differs
      3  not signed, expired, signed by an unknown key,
         the verdict is inconclusive,
         or --serving: the server does not tell everything

    \b
    Example:
      comptrust verify models:/smollm2-135m-instruct/2
    """
    from comptrust.gate.signing import keys
    from comptrust.tracking import evaluations, registry
    from comptrust.workflow import regate, serving_check, signatures

    public = keys.load_public_keys(trusted)
    version = registry.resolve(ref)
    with tempfile.TemporaryDirectory() as folder:
        registered = registry.download_all(version.ref, into=Path(folder))
        attestation, problems = signatures.check(version, registered=registered, trusted=public)
    facts: tuple[serving_check.Fact, ...] = ()
    if serving:
        measured = evaluations.load(version.ref)
        checkpoint = measured.checkpoint
        manifest = checkpoint.manifest if checkpoint else {}
        facts = serving_check.check(
            serving, measured, attestation.weights if attestation else manifest
        )
    failed = any(problem.kind in ("changed", "block") for problem in problems)
    outcome: Result = "block" if failed else "inconclusive" if problems else "pass"
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
    if serving:
        text = "\n".join([text, *map(str, facts)])
        outcome = min(outcome, serving_check.outcome(facts), key=regate.WORST.index)
    fields = {
        "model": version.ref,
        "outcome": outcome,
        "problems": [problem.model_dump(mode="json") for problem in problems],
        "serving": [dataclasses.asdict(fact) for fact in facts],
        "attestation": attestation and attestation.model_dump(mode="json", include=SHOWN),
    }
    print_result(text, fields, as_json=as_json)
    end(Exit.of(outcome))
