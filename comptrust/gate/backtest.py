"""What a policy would have decided on a published table: scores alone, seeds grouped, the worst
seed counts.
"""

from __future__ import annotations

from comptrust import digests
from comptrust.gate.base import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.verdict import judge
from comptrust.published import Published, PublishedRow
from comptrust.records import Finding, Record, Result, Score, Scorecard
from comptrust.trust.evaluation import Evaluation

RANK: dict[Result, int] = {"pass": 0, "inconclusive": 1, "block": 2}


class Judged(Record):
    """The decision on one compressed row."""

    model: str
    baseline: str
    method: str
    bits: int | None
    structure: str | None
    seed: int | None
    outcome: Result
    """The worst outcome among the seeds of the recipe."""
    drops: dict[str, float]
    """Dimension -> points below the dense source; positive is worse."""
    findings: tuple[Finding, ...]


def backtest(table: Published, policy: Policy) -> tuple[Judged, ...]:
    """Judge every compressed row against its dense source, in the table's order."""
    evaluations = {row.model: _evaluation(row, table) for row in table.rows}
    found: dict[str, tuple[Result, tuple[Finding, ...]]] = {}
    for row in table.compressed():
        others = [
            one
            for one in table.compressed()
            if one.recipe.base_model == row.recipe.base_model and one != row
        ]
        evidence = Evidence(
            candidate=evaluations[row.model],
            baseline=evaluations[table.dense(row).model],
            siblings=tuple(evaluations[one.model] for one in others),
        )
        verdict = judge(evidence, policy)
        found[row.model] = (verdict.outcome, verdict.findings)
    return tuple(_judged(row, table, found) for row in table.compressed())


def _judged(
    row: PublishedRow, table: Published, found: dict[str, tuple[Result, tuple[Finding, ...]]]
) -> Judged:
    dense, seeds = table.dense(row), table.seeds(row)
    outcome, findings = found[row.model]
    if len(seeds) > 1:
        worst = max(seeds, key=lambda one: RANK[found[one.model][0]])
        outcome = found[worst.model][0]
        each = {str(one.recipe.seed): found[one.model][0] for one in seeds}
        reason = f"The worst of {len(seeds)} seeds, {worst.recipe.seed}, is {outcome}."
        findings = (
            *findings,
            Finding(rule="worst_seed", outcome=outcome, reason=reason, evidence={"seeds": each}),
        )
    return Judged(
        model=row.model,
        baseline=dense.model,
        method=row.recipe.method,
        bits=row.recipe.bits,
        structure=row.recipe.structure,
        seed=row.seed,
        outcome=outcome,
        drops={name: round(dense.scores[name] - value, 6) for name, value in row.scores.items()},
        findings=findings,
    )


def _evaluation(row: PublishedRow, table: Published) -> Evaluation:
    """Return what the table says of a model; it has no answers, no prompt counts, no code version
    and no size.
    """
    scores = tuple(
        Score(
            dimension=name,
            value=value,
            refusal_rate=row.refusals.get(name),
            n_prompts=0,
            n_scored=0,
        )
        for name, value in row.scores.items()
    )
    protocol = digests.of_value(["published table", table.digest])
    card = Scorecard(
        checkpoint_digest=row.digest,
        suite_digest=protocol,
        rendering_digest=protocol,
        generations={},
        scores=scores,
        provenance={},
    )
    return Evaluation(ref=row.model, scorecard=card, stated_recipe=row.recipe)
