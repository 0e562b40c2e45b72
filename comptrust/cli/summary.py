"""The table at the end of a run: dimension, dense, compressed, drop; then each rule's finding,
size, time and where to look.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from comptrust.records import Finding, Scorecard, Verdict
from comptrust.tracking import store

if TYPE_CHECKING:
    from comptrust.workflow.job import JobResult

MARK = {"pass": "pass", "block": "BLOCK", "inconclusive": "open"}


def scores(candidate: Scorecard, baseline: Scorecard) -> list[str]:
    """Return the lines of the score table; what was not measured is a dash, never a number."""
    rows = [("dimension", "dense", "compressed", "drop")]
    for mine in candidate.scores:
        dense = baseline.score(mine.dimension)
        before = dense.value if dense else None
        drop = None if before is None or mine.value is None else before - mine.value
        rows.append(
            (
                mine.dimension,
                _number(before),
                _number(mine.value),
                "-" if drop is None else f"{drop:+.1f}",
            )
        )
    return _columns(rows)


def findings(found: Sequence[Finding]) -> list[str]:
    """Return one line per rule."""
    return _columns(
        [
            ("rule", "verdict", "why"),
            *((finding.rule, MARK[finding.outcome], finding.reason) for finding in found),
        ]
    )


def of_verdict(verdict: Verdict) -> list[str]:
    """Return the rules and the outcome of a verdict."""
    return [
        *findings(verdict.findings),
        "",
        f"verdict: {verdict.outcome.upper()} under policy {verdict.policy}",
    ]


def of_run(result: JobResult) -> list[str]:
    """Return the whole end table of `comptrust run`."""
    checkpoint = result.checkpoint
    minutes, seconds = divmod(round(result.seconds), 60)
    lines = [
        "",
        f"{result.version.name}  {checkpoint.recipe.slug}",
        *scores(result.candidate.scorecard, result.baseline.scorecard),
        "",
    ]
    lines += of_verdict(result.verdict)
    lines += [
        f"signed:  {result.signature.line}",
        (
            f"size:    {checkpoint.bytes / 1e6:.1f} MB of {checkpoint.dense_bytes / 1e6:.1f} MB"
            f" dense, {checkpoint.effective_bits:.2f} bits per compressed weight,"
            f" {checkpoint.sparsity:.0%} zeros"
        ),
        f"time:    {minutes} min {seconds} s",
        f"where:   {result.version.ref}, {result.candidate.ref}, {checkpoint.path}",
        f"         tracking: {store.shown_uri()}",
    ]
    if result.decision:
        moved = (
            f"moved to {result.decision.stage}, alias {result.decision.alias}"
            if result.decision.stage
            else "NOT promoted"
        )
        lines.append(f"promote: {moved}. {result.decision.reason}")
    return lines


def as_json(result: JobResult) -> str:
    """Return the result of `comptrust run` for machines."""
    fields = {
        "version": result.version.ref,
        "run": result.candidate.ref,
        "outcome": result.verdict.outcome,
        "findings": [finding.model_dump(mode="json") for finding in result.verdict.findings],
        "signed": result.signature.brief(),
        "dimensions": {
            score.dimension: {
                "compressed": score.value,
                "dense": (
                    dense.value
                    if (dense := result.baseline.scorecard.score(score.dimension))
                    else None
                ),
            }
            for score in result.candidate.scorecard.scores
        },
        "bytes": result.checkpoint.bytes,
        "dense_bytes": result.checkpoint.dense_bytes,
        "effective_bits": result.checkpoint.effective_bits,
        "sparsity": result.checkpoint.sparsity,
        "seconds": round(result.seconds, 1),
        "promotion": dataclasses.asdict(result.decision) if result.decision else None,
    }
    return json.dumps(fields, indent=2)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
