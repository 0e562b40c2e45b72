"""What an evaluation becomes in MLflow: metric names, tags and the table of flipped answers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from math import isfinite
from typing import Any

from comptrust.records import Scorecard
from comptrust.trust import flips
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.flips import Flips


def score_metrics(scorecard: Scorecard) -> dict[str, float]:
    """Return `trust/*` (the scores and their better-founded variants, `trust/*_sound`) and
    `refusal/*`, 0-100, of what was measured.
    """
    trust = {
        f"trust/{score.dimension}": score.value
        for score in scorecard.scores
        if score.value is not None
    }
    trust |= {
        f"trust/{key}": value for score in scorecard.scores for key, value in score.sound.items()
    }
    refusal = {
        f"refusal/{score.dimension}": score.refusal_rate
        for score in scorecard.scores
        if score.refusal_rate is not None
    }
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


def changes(candidate: Evaluation, baseline: Evaluation) -> dict[str, Flips]:
    """Return, per dimension that both models answered, which parsed answers changed and how refusal
    moved.
    """
    scoring = candidate.scoring
    return {
        name: flips.compare(
            baseline.generations[name], rows, dimension=name, scoring_variant=scoring
        )
        for name, rows in candidate.generations.items()
        if name in baseline.generations
    }


def flip_metrics(found: Mapping[str, Flips]) -> dict[str, float]:
    """Return `flips/*`, percent of the prompts, and `refusal_change/*`, points; what was not
    measured is absent.
    """
    shares = {f"flips/{name}": one.share for name, one in found.items()}
    moved = {f"refusal_change/{name}": one.refusal_change for name, one in found.items()}
    return {
        key: value
        for key, value in (shares | moved).items()
        if value is not None and isfinite(value)
    }


def flip_summary(found: Mapping[str, Flips]) -> dict[str, dict[str, Any]]:
    """Return each dimension's shares, whole, by scenario and by group, and whether its refusal rate
    moved too far.
    """
    return {
        name: one.model_dump(mode="json", exclude={"flips", "dimension"})
        for name, one in found.items()
    }


def flip_table(
    found: Mapping[str, Flips], *, prompts: Mapping[tuple[str, str], str], n: int = 20
) -> dict[str, list[str]]:
    """Return the n most telling flips as columns, dimensions taking turns; empty columns if nothing
    flipped.

    `prompts` is (dimension, id) -> the question asked; without it the id stands for the question.
    """
    columns: dict[str, list[str]] = {
        name: []
        for name in ("dimension", "scenario", "id", "prompt", "dense", "compressed", "answers")
    }
    turns = [
        flip
        for rank in zip_longest(*(one.top(n) for one in found.values()))
        for flip in rank
        if flip is not None
    ]
    for flip in turns[:n]:
        row = [
            flip.dimension,
            flip.scenario,
            flip.prompt_id,
            prompts.get((flip.dimension, flip.prompt_id), flip.prompt_id),
        ]
        row += (
            flip.dense_text,
            flip.compressed_text,
            f"{flip.dense_answer} -> {flip.compressed_answer}",
        )
        for name, value in zip(columns, row, strict=True):
            columns[name].append(value)
    return columns
