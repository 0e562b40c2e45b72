"""The end of a run or a gate: scores, findings, and where everything is."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from comptrust.records import Scorecard, Verdict
from comptrust.text_tables import number, table
from comptrust.tracking import store

if TYPE_CHECKING:
    from comptrust.workflow.job import JobResult

MARK = {"pass": "pass", "block": "BLOCK", "inconclusive": "open"}


def scores(candidate: Scorecard, baseline: Scorecard) -> list[str]:
    """Return the lines of the score table."""
    rows = [("dimension", "dense", "compressed", "drop")]
    for score in candidate.scores:
        dense = baseline.score(score.dimension)
        before = dense.value if dense else None
        drop = "-"
        if before is not None and score.value is not None:
            drop = f"{before - score.value:+.1f}"
        rows.append((score.dimension, number(before), number(score.value), drop))
    return table(rows)


def of_verdict(verdict: Verdict) -> list[str]:
    """Return one line per rule, and the outcome."""
    rows = [(found.rule, MARK[found.outcome], found.reason) for found in verdict.findings]
    return [
        *table([("rule", "verdict", "why"), *rows]),
        "",
        f"verdict: {verdict.outcome.upper()} under policy {verdict.policy}",
    ]


def of_run(result: JobResult, *, as_json: bool) -> str:
    """Return the result of a run, for people or as JSON."""
    return json.dumps(_fields(result), indent=2) if as_json else "\n".join(_lines(result))


def _lines(result: JobResult) -> list[str]:
    checkpoint, decision = result.checkpoint, result.decision
    minutes, seconds = divmod(round(result.seconds), 60)
    lines = [
        "",
        f"{result.version.name}  {checkpoint.recipe.slug}",
        *scores(result.candidate.scorecard, result.baseline.scorecard),
        "",
        *of_verdict(result.verdict),
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
    if decision:
        moved = (
            f"moved to {decision.stage}, alias {decision.alias}"
            if decision.stage
            else "NOT promoted"
        )
        lines.append(f"promote: {moved}. {decision.reason}")
    return lines


def _fields(result: JobResult) -> dict[str, object]:
    checkpoint = result.checkpoint
    dimensions = {}
    for score in result.candidate.scorecard.scores:
        dense = result.baseline.scorecard.score(score.dimension)
        dimensions[score.dimension] = {
            "compressed": score.value,
            "dense": dense.value if dense else None,
        }
    return {
        "version": result.version.ref,
        "run": result.candidate.ref,
        "outcome": result.verdict.outcome,
        "findings": [finding.model_dump(mode="json") for finding in result.verdict.findings],
        "signed": result.signature.brief(),
        "dimensions": dimensions,
        "bytes": checkpoint.bytes,
        "dense_bytes": checkpoint.dense_bytes,
        "effective_bits": checkpoint.effective_bits,
        "sparsity": checkpoint.sparsity,
        "seconds": round(result.seconds, 1),
        "promotion": dataclasses.asdict(result.decision) if result.decision else None,
    }
