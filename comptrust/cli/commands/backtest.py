"""`comptrust backtest`: what a policy would have promoted or blocked on a published table, and
why."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from comptrust.cli.options import json_option


@click.command("backtest")
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--policy",
    default="literal",
    show_default=True,
    help="Name of a shipped policy or path of a YAML file.",
)
@click.option(
    "--mapping",
    type=click.Path(path_type=Path),
    help="YAML file that explains model names  [default: the published models'].",
)
@json_option
def command(table: Path, policy: str, mapping: Path | None, as_json: bool) -> None:
    """Judge every compressed row of TABLE (CSV) against its dense source; seeds are grouped and the
    worst one counts.

    A table holds scores alone: what a rule cannot see in it (answers, sizes) is inconclusive, never
    a pass.

    Example: comptrust backtest num_sheet.csv --policy literal
    """
    from comptrust import published
    from comptrust.gate import policy as policies
    from comptrust.gate.backtest import backtest

    judged = backtest(published.read(table, mapping=mapping), policies.load(policy))
    if as_json:
        click.echo(json.dumps([row.model_dump(mode="json") for row in judged], indent=2))
        return
    for row in judged:
        worst = max(row.drops, key=lambda name: row.drops[name])
        click.echo(f"{row.outcome:<12}  {row.model}  (worst: {worst} {row.drops[worst]:+.1f})")
        for finding in row.findings:
            if finding.outcome != "pass":
                click.echo(f"{'':12}    {finding.rule}: {finding.reason}")
    counts = Counter(row.outcome for row in judged)
    click.echo(
        f"\n{len(judged)} compressed rows: "
        + ", ".join(f"{counts[name]} {name}" for name in ("pass", "inconclusive", "block"))
    )
