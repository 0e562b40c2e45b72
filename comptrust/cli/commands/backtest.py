"""`comptrust backtest`: what a policy would have decided on a published table, and why."""

from collections import Counter
from pathlib import Path

import click

from comptrust.cli import complete
from comptrust.cli.options import default_option, json_option, mapping_option, print_result
from comptrust.text_tables import counted


@click.command("backtest")
@click.argument("table", type=click.Path(path_type=Path))
@default_option(
    "--policy",
    shell_complete=complete.names("policies", files=True),
    default="literal",
    help="Name of a shipped policy or path of a YAML file.",
)
@mapping_option
@json_option
def command(table: Path, policy: str, mapping: Path | None, as_json: bool) -> None:
    """Judge the models of a published table of scores.

    Each compressed row of TABLE (CSV) is compared with its dense source. Rows that differ only in
    their seed are judged together, and the worst one counts. A rule that needs more than scores
    (answers, sizes) is inconclusive, never passed.

    Exit 0 whatever the verdicts are.

    \b
    Example:
      comptrust backtest num_sheet.csv --policy literal
    """
    from comptrust import published
    from comptrust.gate import policy as policies
    from comptrust.gate.backtest import backtest

    rows = backtest(published.read(table, mapping=mapping), policies.load(policy))
    lines = []
    for row in rows:
        worst = max(row.drops, key=row.drops.__getitem__)
        lines.append(f"{row.outcome:<12}  {row.model}  (worst: {worst} {row.drops[worst]:+.1f})")
        lines += [
            f"{'':12}    {finding.rule}: {finding.reason}"
            for finding in row.findings
            if finding.outcome != "pass"
        ]
    counts = Counter(row.outcome for row in rows)
    outcomes = ", ".join(f"{counts[name]} {name}" for name in ("pass", "inconclusive", "block"))
    text = "\n".join([*lines, "", f"{counted(len(rows), 'compressed row')}: {outcomes}"])
    print_result(text, [row.model_dump(mode="json") for row in rows], as_json=as_json)
