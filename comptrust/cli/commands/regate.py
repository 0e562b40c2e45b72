"""`comptrust regate`: bring the evidence of what is promoted up to the present policy."""

import dataclasses

import click

from comptrust.cli import complete
from comptrust.cli.options import end, json_option, print_result, text_option
from comptrust.errors import Exit
from comptrust.records import SEVERITY


@click.command("regate")
@click.argument("ref", metavar="MODEL", shell_complete=complete.versions)
@text_option(
    "--policy",
    shell_complete=complete.names("policies", files=True),
    help="Policy to judge under  [default: that of the version's stage or alias, from"
    " COMPTRUST_POLICY_STAGING and COMPTRUST_POLICY_PRODUCTION, else the shipped one].",
)
@json_option
def command(ref: str, policy: str | None, as_json: bool) -> None:
    """Judge promoted versions again under the present policy, and sign the verdicts.

    MODEL is models:/NAME for all its promoted versions, or models:/NAME/VERSION. Nothing is
    measured: what is missing is named, with the command that would measure it.

    Exit 0 if all verdicts pass, 1 if one blocks, 3 if one is inconclusive.

    \b
    Example:
      comptrust regate models:/smollm2-135m-instruct
    """
    from comptrust.workflow import regate

    results = regate.regate(ref, policy=policy)
    lines: list[str] = []
    for result in results:
        lines.append(f"{result.ref}: {result.outcome} under policy {result.policy}")
        lines += (f"  missing: {reason}" for reason in result.missing)
        if result.measure:
            lines.append(f"  measure: {result.measure}")
        lines.append(f"  signed:  {result.signed}")
    outcome = max((result.outcome for result in results), key=SEVERITY.index)
    fields = {"outcome": outcome, "versions": [dataclasses.asdict(result) for result in results]}
    print_result("\n".join(lines), fields, as_json=as_json)
    end(Exit.of(outcome))
