"""How an evaluation is logged in MLflow: metrics, tags and the table of flipped answers."""

from collections.abc import Mapping
from itertools import zip_longest
from math import isfinite
from typing import Any

from comptrust.records import Checkpoint, Scorecard, Verdict
from comptrust.trust import flips
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.flips import Flips


def score_metrics(scorecard: Scorecard) -> dict[str, float]:
    """Return the measured scores (`trust/*`, `trust/*_sound`) and refusal rates (`refusal/*`)."""
    metrics: dict[str, float | None] = {}
    for score in scorecard.scores:
        metrics[f"trust/{score.dimension}"] = score.value
        metrics[f"refusal/{score.dimension}"] = score.refusal_rate
        metrics |= {f"trust/{key}": value for key, value in score.sound.items()}
    return {key: value for key, value in metrics.items() if value is not None}


def drop_metrics(candidate: Scorecard, baseline: Scorecard) -> dict[str, float]:
    """Return `drop/*`, dense minus compressed in points, and the largest as `drop/worst`."""
    dense = {score.dimension: score.value for score in baseline.scores if score.value is not None}
    drops = {
        f"drop/{score.dimension}": dense[score.dimension] - score.value
        for score in candidate.scores
        if score.value is not None and score.dimension in dense
    }
    return drops and drops | {"drop/worst": max(drops.values())}


def size_metrics(checkpoint: Checkpoint) -> dict[str, float]:
    """Return the sizes measured from the checkpoint's files (`size/*`)."""
    sizes = {
        "size/bytes": float(checkpoint.bytes),
        "size/effective_bits": checkpoint.effective_bits,
        "size/sparsity": checkpoint.sparsity,
    }
    if checkpoint.bytes:
        sizes["size/ratio"] = checkpoint.dense_bytes / checkpoint.bytes
    return sizes


def scorecard_tags(scorecard: Scorecard) -> dict[str, str]:
    """Return the tags by which an evaluation can be found."""
    weights = scorecard.provenance.get("weights")
    return {
        **({"weights": weights} if weights else {}),
        "checkpoint_digest": scorecard.checkpoint_digest,
        "suite_digest": scorecard.suite_digest,
        "rendering_digest": scorecard.rendering_digest,
        "engine": engine(scorecard),
        "scorecard_digest": scorecard.digest_of_fields(),
    }


def engine(scorecard: Scorecard) -> str:
    """Return the engine's name, dtype and versions as one tag, without quotes, as queries need."""
    return ", ".join(scorecard.engine.values()).replace("'", "")


def verdict_tags(verdict: Verdict) -> dict[str, str]:
    """Return the tags of a judged run or version."""
    return {"verdict": verdict.outcome, "policy": verdict.policy}


def changes(candidate: Evaluation, baseline: Evaluation) -> dict[str, Flips]:
    """Return the changed parsed answers and refusals of each dimension both have answers for."""
    return {
        name: flips.compare(
            baseline.generations[name], rows, dimension=name, scoring_variant=candidate.scoring
        )
        for name, rows in candidate.generations.items()
        if name in baseline.generations
    }


def flip_metrics(changes: Mapping[str, Flips]) -> dict[str, float]:
    """Return `flips/*` (percent of the prompts) and `refusal_change/*` (points), if measured."""
    shares = {f"flips/{name}": flips.share for name, flips in changes.items()}
    shifts = {f"refusal_change/{name}": flips.refusal_change for name, flips in changes.items()}
    return {
        key: value
        for key, value in (shares | shifts).items()
        if value is not None and isfinite(value)
    }


def flip_summary(changes: Mapping[str, Flips]) -> dict[str, dict[str, Any]]:
    """Return everything about each dimension's flips except the flips themselves."""
    return {
        name: flips.model_dump(mode="json", exclude={"flips", "dimension"})
        for name, flips in changes.items()
    }


def flip_table(
    changes: Mapping[str, Flips], *, prompts: Mapping[tuple[str, str], str], n: int = 20
) -> dict[str, list[str]]:
    """Return the n clearest flips as columns, each dimension in turn, losses first.

    `prompts` maps (dimension, id) to the question; the id replaces one that is not given.
    """
    rounds = zip_longest(*(flips.flips[:n] for flips in changes.values()))
    clearest = [flip for one_round in rounds for flip in one_round if flip is not None][:n]
    return {
        "dimension": [flip.dimension for flip in clearest],
        "scenario": [flip.scenario for flip in clearest],
        "id": [flip.prompt_id for flip in clearest],
        "prompt": [
            prompts.get((flip.dimension, flip.prompt_id), flip.prompt_id) for flip in clearest
        ],
        "dense": [flip.dense_text for flip in clearest],
        "compressed": [flip.compressed_text for flip in clearest],
        "answers": [f"{flip.dense_answer} -> {flip.compressed_answer}" for flip in clearest],
        "effect": [flip.effect for flip in clearest],
    }
