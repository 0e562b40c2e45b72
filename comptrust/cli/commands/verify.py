"""`comptrust verify`: check a version or an exported bundle against its signed verdict."""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comptrust import config
from comptrust.cli import ci_files, complete
from comptrust.cli.ci_files import check_options
from comptrust.cli.options import default_option, end, file_option, json_option, print_result
from comptrust.errors import Exit
from comptrust.records import SEVERITY, Checkpoint, Result

if TYPE_CHECKING:
    from comptrust.gate.signing import keys
    from comptrust.gate.signing.attestations import Attestation, Problem
    from comptrust.workflow import serving_check

REGISTERED = "models:/"
SHOWN = {"key_id", "model", "run_id", "baseline_run_id", "issued", "expires"}
"""Fields of the attestation in the JSON result."""


@click.command("verify")
@click.argument("target", metavar="TARGET", shell_complete=complete.versions)
@click.option(
    "--policy-digest",
    metavar="DIGEST",
    help="Policy under which it must have passed: the policy_digest in verdict.json"
    "  [default: any].",
)
@file_option(
    "--keys", "trusted", help="Public key, or folder of public keys  [default: the keys folder]."
)
@default_option(
    "--level",
    type=click.Choice(["staging", "production"]),
    default="production",
    help="Stage for which the keys must be allowed to sign (levels in roles.yaml).",
)
@click.option(
    "--serving",
    metavar="URL",
    help="Also compare engine, dtype and model of a running server (OpenAI API) with what was"
    " judged  [default: no server].",
)
@check_options
@json_option
def command(
    target: str,
    policy_digest: str | None,
    trusted: Path | None,
    level: str,
    serving: str | None,
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Check a version or a bundle against its signed verdict.

    TARGET is models:/NAME/VERSION, or a folder that comptrust export wrote. Of a version its
    signature, weights, scores, answers and verdict are checked, and the scores and answers of its
    dense source; of a folder the signature, the verdict and every file, without a network. In both
    a trusted key must have signed the evaluation.

    \b
    Exit codes:
      0  signed by a trusted key, not expired, every byte as signed,
         and the verdict passes, under the policy if one is named
      1  something was changed, or the verdict blocks,
         or --serving: something differs
      2  TARGET, the keys or the digest cannot be used
      3  not signed, expired, signed by an unknown key, judged under another
         policy, or the verdict is inconclusive,
         or --serving: the server does not tell everything

    \b
    Examples:
      comptrust verify models:/smollm2-135m-instruct/2
      comptrust verify out/champion --policy-digest DIGEST --keys trusted
    """
    from comptrust.claims import bundles
    from comptrust.gate.signing import attestations, keys

    bundles.check_digest(policy_digest)
    registered = target.startswith(REGISTERED)
    public = keys.load_public_keys(trusted)
    name = target
    if registered:
        name, attestation, problems = _registered(target, public, level)
    else:
        attestation, problems = bundles.check(Path(target), trusted=public, level=level)
    problems = (*problems, *bundles.other_policy(attestation, policy_digest))
    outcome = attestations.outcome(problems)
    text = _text(name, attestation, problems)
    told: Sequence[serving_check.Fact] = ()
    by_fact: list[tuple[str, Result]] = []
    if serving and outcome != "block":  # of what was changed, nobody knows what was judged
        told, by_server = _compared(serving, name, attestation)
        by_fact = [(str(fact), by_server) for fact in told if fact.state != "matches"]
        text = "\n".join([text, *map(str, told)])
        outcome = max(outcome, by_server, key=SEVERITY.index)
    fields = {
        "model": name,
        "outcome": outcome,
        "problems": [problem.model_dump(mode="json") for problem in problems],
        "serving": [dataclasses.asdict(fact) for fact in told],
        "policy_digest": attestation and attestation.verdict.policy_digest,
        "attestation": attestation and attestation.model_dump(mode="json", include=SHOWN),
    }
    cases = [ci_files.Case(name, attestations.outcome([one]), one.text) for one in problems]
    cases += [ci_files.Case("serving", result, fact) for fact, result in by_fact]
    title = f"verify {name}: {outcome}"
    ci_files.write_checks(
        title, cases or [ci_files.Case(name, outcome, "")], junit=junit, markdown=markdown
    )
    print_result(text, fields, as_json=as_json)
    end(Exit.of(outcome))


def _compared(
    serving: str, ref: str, attestation: "Attestation | None"
) -> "tuple[Sequence[serving_check.Fact], Result]":
    from comptrust.claims.bundles import MODEL
    from comptrust.claims.writing import CHECKPOINT
    from comptrust.tracking import evaluations
    from comptrust.workflow import serving_check

    measured = evaluations.load(ref)
    if not ref.startswith(REGISTERED):
        record = config.load_json(Path(ref, MODEL, CHECKPOINT), Checkpoint)
        measured = dataclasses.replace(measured, checkpoint=record)
    manifest = measured.checkpoint.manifest if measured.checkpoint else {}
    facts = serving_check.check(serving, measured, attestation.weights if attestation else manifest)
    return facts, serving_check.outcome(facts)


def _registered(
    ref: str, public: "keys.Trusted", level: str
) -> "tuple[str, Attestation | None, tuple[Problem, ...]]":
    from comptrust.tracking import registry
    from comptrust.workflow import signatures

    version = registry.resolve(ref)
    with tempfile.TemporaryDirectory() as folder:
        registered = registry.download_all(version.ref, into=Path(folder))
        return version.ref, *signatures.check(
            version, registered=registered, trusted=public, level=level
        )


def _text(name: str, attestation: "Attestation | None", problems: "Sequence[Problem]") -> str:
    if attestation is None or problems:
        return "\n".join(f"{problem.kind}: {problem.text}" for problem in problems)
    verdict = attestation.verdict
    return (
        f"{name}: all files are as key {attestation.key_id} signed them on"
        f" {attestation.issued:%Y-%m-%d}.\n"
        f"verdict: {verdict.outcome} under policy {verdict.policy} ({verdict.policy_digest}), valid"
        f" until {attestation.expires:%Y-%m-%d %H:%M} UTC"
    )
