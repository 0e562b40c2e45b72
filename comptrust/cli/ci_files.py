"""A verdict for a CI system: JUnit XML, and Markdown for a merge request."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

from comptrust import digests
from comptrust.cli.options import stack
from comptrust.errors import UserError
from comptrust.records import Result, Verdict
from comptrust.text_tables import counted, number

if TYPE_CHECKING:
    from comptrust.trust.evaluation import Evaluation

FLIPS = 5
"""Flips in the Markdown."""

check_options = stack(
    click.option(
        "--junit",
        type=click.Path(path_type=Path),
        help="Also write JUnit XML: a test a rule; inconclusive is an error, what does not apply is"
        " skipped  [default: none].",
    ),
    click.option(
        "--markdown",
        type=click.Path(path_type=Path),
        help="Also write Markdown for a merge request  [default: none].",
    ),
)
ci_options = stack(
    check_options,
    click.option(
        "--show-texts",
        is_flag=True,
        help="With --markdown: quote both answers of the most telling flips.",
    ),
)


class Case(NamedTuple):
    """One check of a verdict or of a verification."""

    name: str
    outcome: Result | Literal["skipped"]
    reason: str


def write(
    verdict: Verdict,
    candidate: Evaluation,
    baseline: Evaluation | None,
    *,
    junit: Path | None,
    markdown: Path | None,
    show_texts: bool,
) -> None:
    """Write the files that were asked for."""
    from comptrust.cli import verdicts  # the light install does not have what it needs

    if show_texts and not markdown:
        raise UserError("--show-texts belongs to --markdown FILE.")
    cases = [
        Case(
            verdicts.named(finding),
            finding.outcome if finding.evidence.get("applies", True) else "skipped",
            finding.reason,
        )
        for finding in verdict.findings
    ]
    title = f"{verdict.outcome.upper()}: {candidate.ref}"
    if junit:
        digests.write_atomic(junit, as_junit(f"comptrust {verdict.policy} {candidate.ref}", cases))
    if markdown:
        about = f"Policy `{verdict.policy}` ({verdict.policy_digest[:12]})."
        lines = [*as_markdown(title, about, cases), *_drops(verdict, candidate, baseline)]
        if baseline:
            lines += _flips(candidate, baseline, texts=show_texts)
        digests.write_atomic(markdown, "\n".join(lines) + "\n")


def write_checks(
    title: str, cases: Sequence[Case], *, junit: Path | None, markdown: Path | None
) -> None:
    """Write the files of a verification."""
    if junit:
        digests.write_atomic(junit, as_junit(f"comptrust {title}", cases))
    if markdown:
        digests.write_atomic(markdown, "\n".join(as_markdown(title, "", cases)) + "\n")


def as_junit(title: str, cases: Sequence[Case]) -> str:
    """Return JUnit XML: a block is a failure, an inconclusive case an error."""
    try:
        from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
    except ModuleNotFoundError as error:
        raise UserError("--junit needs: pip install 'comptrust[platform]'") from error
    kinds = {"block": Failure, "inconclusive": Error, "skipped": Skipped}
    suite = TestSuite(title)
    for case in cases:
        test = TestCase(case.name, classname="comptrust")
        if kind := kinds.get(case.outcome):
            test.result = [kind(case.reason, case.outcome)]
        suite.add_testcase(test)
    xml = JUnitXml()
    xml.add_testsuite(suite)
    text: str = xml.tostring().decode()  # type: ignore[no-untyped-call]
    return text


def as_markdown(title: str, about: str, cases: Sequence[Case]) -> list[str]:
    """Return the lines of a heading, and of what failed or is open, the worst first."""
    lines = [f"## {_cell(title)}", *([about] if about else []), ""]
    for outcome, word in (("block", "BLOCK"), ("inconclusive", "open")):
        lines += [
            f"- **{word}: {_cell(case.name)}**: {_cell(case.reason)}"
            for case in cases
            if case.outcome == outcome
        ]
    return lines


def _drops(verdict: Verdict, candidate: Evaluation, baseline: Evaluation | None) -> list[str]:
    drops = {
        name: row
        for finding in verdict.findings
        for name, row in finding.evidence.get("dimensions", {}).items()
        if isinstance(row, dict) and "observed" in row
    }
    if baseline is None or not drops:
        return []
    lines = ["", "| dimension | dense | compressed | lost | at most (95%) |"]
    lines += ["|---|--:|--:|--:|--:|"]
    for name, row in drops.items():
        scores = [one.scorecard.score(name) for one in (baseline, candidate)]
        before, after = (number(score.value if score else None) for score in scores)
        lost, most = f"{row['observed']:+.1f}", number(row.get("upper"))
        lines.append(f"| {_cell(name)} | {before} | {after} | {lost} | {most} |")
    return lines


def _flips(candidate: Evaluation, baseline: Evaluation, *, texts: bool) -> list[str]:
    from comptrust.tracking import metrics

    changes = metrics.changes(candidate, baseline)
    count = sum(len(one.flips) for one in changes.values())
    lines = ["", f"{counted(count, 'answer')} changed."]
    if not texts:
        return lines
    rows = metrics.flip_table(changes, prompts={}, n=FLIPS)
    lines += ["", "| prompt | dense | compressed | effect |", "|---|---|---|---|"]
    for name, dense, compressed, effect in zip(
        rows["id"], rows["dense"], rows["compressed"], rows["effect"], strict=True
    ):
        lines.append("| " + " | ".join(map(_cell, (name, dense, compressed, effect))) + " |")
    return lines


def _cell(text: str) -> str:
    """Return a text as one line in which no Markdown or HTML works."""
    short = html.escape(" ".join(text.split())[:300], quote=False)
    return re.sub(r"([\\`*_{}\[\]|~!])", r"\\\1", short)
