"""Small evaluations made up for the gate: one dimension, of a few recipes."""

from __future__ import annotations

from typing import Any

from comptrust import digests
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.records import (
    Checkpoint,
    Generation,
    Recipe,
    ReloadCheck,
    Score,
    Scorecard,
    SuiteManifest,
)
from comptrust.trust.evaluation import Evaluation
from tests.support.records import PARTS

DENSE = Recipe(base_model="m", revision="r", method="none")
THREE = Recipe(base_model="m", revision="r", method="gptq", bits=3)
EIGHT = Recipe(base_model="m", revision="r", method="gptq", bits=8)
ENGINE = {"backend": "hf", "dtype": "torch.float32"}
PRUNED = Recipe(base_model="m", revision="r", method="wanda", structure="2:4", sparsity=0.5)


def checkpoint(recipe: Recipe, *, size: int, sparsity: float = 0.0) -> Checkpoint:
    manifest = {"model.safetensors": recipe.slug}
    return Checkpoint(
        recipe=recipe,
        path="x",
        digest=digests.of_value(manifest),
        manifest=manifest,
        bytes=size,
        dense_bytes=1000,
        effective_bits=16,
        sparsity=sparsity,
        parts=PARTS,
        reload_check=ReloadCheck(max_logit_difference=0, tolerance=1, n_tokens=1),
        versions={},
    )


def evaluation(
    recipe: Recipe | None,
    scores: dict[str, float | None],
    *,
    refusal: float | None = 0.0,
    size: int = 500,
    suite_digest: str = "5" * 64,
    rendering: str = "r",
    version: str | None = "1.2",
    correct: int | None = None,
    limit: int | None = None,
    unscored: int = 0,
) -> Evaluation:
    rows = [
        Score(
            dimension=name,
            value=value,
            refusal_rate=refusal,
            n_prompts=400,
            n_scored=400 - unscored,
        )
        for name, value in scores.items()
    ]
    answers = {}
    if correct is not None:
        texts = ["A" if i < correct else "B" for i in range(400)]
        answers["mmlu"] = [
            Generation(
                dimension="mmlu", scenario="anatomy", id=f"anatomy#{i}", texts=(text,), target="A"
            )
            for i, text in enumerate(texts)
        ]
    made = checkpoint(recipe, size=size, sparsity=recipe.sparsity or 0.0) if recipe else None
    card = Scorecard(
        checkpoint_digest=made.digest if made else "unknown",
        suite_digest=suite_digest,
        rendering_digest=rendering,
        generations={"mmlu": str(correct)},
        scores=tuple(rows),
        provenance={**ENGINE, **({"code_version": version} if version else {})},
    )
    manifest = SuiteManifest(
        name="mini",
        revision="1",
        required={},
        digest=suite_digest,
        n_prompts={name: {"x": 400} for name in scores},
        limit=limit,
    )
    return Evaluation(
        ref="here", scorecard=card, suite=manifest, generations=answers, checkpoint=made
    )


def pair(
    recipe: Recipe | None, mine: float | None, dense: float | None = 80.0, **options: Any
) -> Evidence:
    return Evidence(
        candidate=evaluation(recipe, {"mmlu": mine}, **options),
        baseline=evaluation(DENSE, {"mmlu": dense}, size=1000),
    )


def policy(*rules: Any) -> Policy:
    return Policy(name="p", rules=rules)
