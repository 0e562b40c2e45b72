"""What an evaluation becomes in MLflow: metric names, tags and the table of flipped answers."""

from __future__ import annotations

from typing import Any

from comptrust.records import Scorecard
from comptrust.trust.evaluation import Evaluation


def score_metrics(scorecard: Scorecard) -> dict[str, float]:
    """Return `trust/*` and `refusal/*`, 0-100, of what was measured."""
    trust = {f"trust/{score.dimension}": score.value for score in scorecard.scores if score.value is not None}
    refusal = {f"refusal/{score.dimension}": score.refusal_rate for score in scorecard.scores if score.refusal_rate is not None}
    return trust | refusal


def drop_metrics(candidate: Scorecard, baseline: Scorecard) -> dict[str, float]:
    """Return `drop/*`, dense minus compressed in points, where both were measured."""
    pairs = ((score, baseline.score(score.dimension)) for score in candidate.scores)
    return {
        f"drop/{mine.dimension}": dense.value - mine.value
        for mine, dense in pairs
        if dense is not None and mine.value is not None and dense.value is not None
    }


def scorecard_tags(scorecard: Scorecard) -> dict[str, str]:
    """Return the tags by which an evaluation is found again."""
    return {
        "checkpoint_digest": scorecard.checkpoint_digest,
        "suite_digest": scorecard.suite_digest,
        "rendering_digest": scorecard.rendering_digest,
        "scorecard_digest": scorecard.digest_of_fields(),
    }


def flips(candidate: Evaluation, baseline: Evaluation) -> dict[str, list[dict[str, Any]]]:
    """Return, per dimension, the prompts whose parsed answer changed: the clearest change of score first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, table in candidate.tables.items():
        if name not in baseline.tables:
            continue
        dense = baseline.tables[name]
        before = {key: row for row, key in enumerate(dense.ids)}
        answers = {generation.id: generation for generation in candidate.generations[name]}
        reference = {generation.id: generation for generation in baseline.generations[name]}
        rows = []
        for row, key in enumerate(table.ids):
            if key not in before or table.answer[row] == dense.answer[before[key]]:
                continue
            old = before[key]
            shift = sum(abs(values[row] - dense.values[value][old]) for value, values in table.values.items() if value in dense.values)
            entry = {"dimension": name, "scenario": table.scenario[row], "prompt": key, "target": str(answers[key].target)}
            entry |= {"dense": reference[key].texts[0], "compressed": answers[key].texts[0]}
            rows.append((-shift if shift == shift else 0.0, entry))
        found[name] = [entry for _, entry in sorted(rows, key=lambda pair: (pair[0], pair[1]["prompt"]))]
    return found
