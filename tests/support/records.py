"""Records that tests make up: a checkpoint of a folder, a scorecard of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from comptrust import digests
from comptrust.records import Checkpoint, Part, Recipe, ReloadCheck, Score, Scorecard

PARTS = (Part(kind="mlp", linear=True, weights=64, compressed=64, bits=4.5, sparsity=None),)
"""A model whose weights are all compressed."""


def checkpoint_of(folder: Path, **fields: object) -> Checkpoint:
    """Describe a folder as a checkpoint."""
    manifest = digests.of_folder(folder)
    recipe = {
        "base_model": "builtin:tiny",
        "revision": "r1",
        "method": "gptq",
        "bits": 4,
        "group_size": 32,
        "seed": 0,
        **fields,
    }
    return Checkpoint(
        recipe=Recipe(**recipe),
        path=str(folder),
        digest=digests.of_value(manifest),
        manifest=manifest,
        bytes=100,
        dense_bytes=400,
        effective_bits=16 if recipe["method"] == "none" else 4.5,
        sparsity=0.0,
        parts=PARTS,
        reload_check=ReloadCheck(max_logit_difference=0.0, tolerance=0.1, n_tokens=3),
        versions={"torch": "2.13.0+cpu", "transformers": "5.17.0"},
    )


def scorecard_of(checkpoint: Checkpoint, *, value: float | None = 50.0) -> Scorecard:
    """Return a scorecard with one measured and one unmeasured dimension."""
    return Scorecard(
        checkpoint_digest=checkpoint.digest,
        suite_digest="5" * 64,
        rendering_digest="6" * 64,
        generations={},
        scores=(
            Score(dimension="mmlu", value=value, refusal_rate=2.0, n_prompts=4, n_scored=4),
            Score(dimension="ood", value=None, refusal_rate=None, n_prompts=4, n_scored=0),
        ),
        provenance={},
    )
