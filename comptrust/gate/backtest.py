"""Backtesting: what a policy would have decided on a published table.

A table has scores only. Seeds of a recipe are grouped, and the worst one counts.
"""

from collections.abc import Mapping

from comptrust import digests
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.verdict import judge
from comptrust.published import Published, PublishedRow
from comptrust.records import SEVERITY, Finding, Record, Result, Score, Scorecard, Verdict
from comptrust.trust.evaluation import Evaluation


class BacktestedModel(Record):
    """The decision on one compressed row of a table."""

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


def backtest(table: Published, policy: Policy) -> tuple[BacktestedModel, ...]:
    """Judge every compressed row against its dense source, in the table's order."""
    evaluations = {row.model: _evaluation(row, table) for row in table.rows}
    compressed = table.compressed()
    verdicts = {}
    for row in compressed:
        siblings = [
            evaluations[other.model]
            for other in compressed
            if other.recipe.base_model == row.recipe.base_model and other != row
        ]
        dense = evaluations[table.dense(row).model]
        evidence = Evidence(evaluations[row.model], dense, siblings=tuple(siblings))
        verdicts[row.model] = judge(evidence, policy)
    return tuple(_backtested(row, table, verdicts) for row in compressed)


def _backtested(
    row: PublishedRow, table: Published, verdicts: Mapping[str, Verdict]
) -> BacktestedModel:
    dense, seeds = table.dense(row), table.seeds(row)
    outcomes = {seed.recipe.seed: verdicts[seed.model].outcome for seed in seeds}
    worst = max(outcomes, key=lambda seed: SEVERITY.index(outcomes[seed]))
    outcome, findings = outcomes[worst], verdicts[row.model].findings
    if len(seeds) > 1:
        findings += (
            Finding(
                rule="worst_seed",
                outcome=outcome,
                reason=f"The worst of {len(seeds)} seeds ({worst}) is {outcome}.",
                evidence={"seeds": {str(seed): each for seed, each in outcomes.items()}},
            ),
        )
    return BacktestedModel(
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
    """Return what the table says of a model: no answers, prompt counts, code version or size."""
    scores = [
        Score(
            dimension=name,
            value=value,
            refusal_rate=row.refusals.get(name),
            n_prompts=0,
            n_scored=0,
        )
        for name, value in row.scores.items()
    ]
    # Rows of one table are comparable with each other and with nothing else.
    protocol = digests.of_value(["published table", table.digest])
    return Evaluation(
        ref=row.model,
        scorecard=Scorecard(
            checkpoint_digest=row.digest_of_fields(),
            suite_digest=protocol,
            rendering_digest=protocol,
            generations={},
            scores=tuple(scores),
            provenance={},
        ),
        stated_recipe=row.recipe,
    )
