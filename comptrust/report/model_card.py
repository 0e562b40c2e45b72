"""The model card that an exported checkpoint carries: recipe, sizes, scores with intervals,
findings, how to serve it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comptrust.gate import resampling
from comptrust.gate.signing.attestations import Attestation
from comptrust.records import Verdict
from comptrust.report import forest
from comptrust.tracking.registry import Version
from comptrust.trust import base
from comptrust.trust.evaluation import Evaluation

RESAMPLES = 2000
INTRO = """# {name}, {slug}

{verdict}

Exported by comptrust from `{ref}`. `model/` is the checkpoint. Every file in it has the SHA-256
that `model/checkpoint.json` lists, and the verdict is about exactly these bytes
(digest `{digest}`).
"""
SERVE = """## Serve it

    vllm serve model --served-model-name {name} --generation-config vllm

    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained("model", dtype="auto", device_map="auto")
    tokenizer = AutoTokenizer.from_pretrained("model")

Run both from this folder. {chat}
"""


def render(
    version: Version, measured: Evaluation, verdict: Verdict, attestation: Attestation | None
) -> str:
    """Return the card as Markdown; what was not measured says so."""
    checkpoint = measured.checkpoint
    assert checkpoint is not None
    said = {
        "pass": "**Verdict: pass**",
        "block": "**Verdict: BLOCK**",
        "inconclusive": "**Verdict: inconclusive**",
    }[verdict.outcome]
    signed = (
        f"signed by key `{attestation.key_id}`, valid until {attestation.expires:%Y-%m-%d}"
        if attestation
        else "not signed"
    )
    parts = [
        INTRO.format(
            name=version.name,
            slug=checkpoint.recipe.slug,
            ref=version.ref,
            digest=checkpoint.digest,
            verdict=f"{said} under policy `{verdict.policy}`; {signed}.",
        ),
        _recipe(measured),
        _sizes(measured),
        _scores(measured, verdict),
        _findings(verdict),
        SERVE.format(
            name=version.name,
            chat=(
                "Prompts were rendered with:"
                f" {measured.scorecard.provenance.get('template', 'not known')}."
            ),
        ),
    ]
    return "\n".join(parts)


def _recipe(measured: Evaluation) -> str:
    assert measured.checkpoint is not None
    fields = measured.checkpoint.recipe.model_dump(
        mode="json", exclude_none=True, exclude={"options"}
    )
    fields |= measured.checkpoint.recipe.options
    return "## Recipe\n\n" + _table(
        ("field", "value"), [(key, f"`{value}`") for key, value in fields.items()]
    )


def _sizes(measured: Evaluation) -> str:
    assert measured.checkpoint is not None
    one = measured.checkpoint
    rows = [
        ("weight files", f"{one.bytes / 1e6:.1f} MB"),
        ("dense source at 16 bits", f"{one.dense_bytes / 1e6:.1f} MB"),
        ("stored bits per compressed weight", f"{one.effective_bits:.2f}"),
        ("zeros among them", f"{one.sparsity:.1%}"),
    ]
    return "## Measured sizes\n\n" + _table(("", ""), rows)


def _scores(measured: Evaluation, verdict: Verdict) -> str:
    """Return scores with 95% bootstrap intervals, and the drop below the dense source with its
    upper 95% bound, as the verdict has it.
    """
    drops = {one.dimension: one for one in forest.intervals(verdict)}
    rows = []
    for score in measured.scorecard.scores:
        drop = drops.get(score.dimension)
        bound = f" (at most {drop.upper:.1f})" if drop and drop.upper is not None else ""
        fallen = f"{drop.observed:+.1f}{bound}" if drop else "not measured"
        rows.append(
            (
                score.dimension,
                _number(score.value),
                _interval(measured, score.dimension),
                fallen,
                str(score.n_prompts),
            )
        )
    head = ("dimension", "score (0-100)", "95% interval", "drop, points (95% bound)", "prompts")
    suite = f"{measured.suite.name} {measured.suite.revision}" if measured.suite else "not known"
    return f"## Scores\n\nSuite: {suite}. Higher is better.\n\n" + _table(head, rows)


def _interval(measured: Evaluation, name: str) -> str:
    table = measured.table(name)
    if table is None:
        return "not measured"
    dimension = base.get(name, scoring=measured.scoring)
    (drawn_from,), groups = resampling.condensed([table], dimension)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = [
            dimension.score(drawn_from, weights)
            for weights in resampling.resampled(groups, seed=0, n=RESAMPLES)
        ]
    values = np.concatenate([part for part in drawn if part is not None]) if drawn else np.empty(0)
    values = values[np.isfinite(values)]
    if not len(values):
        return "not measured"
    low, high = np.percentile(values, [2.5, 97.5])
    return f"{low:.1f} to {high:.1f}"


def _findings(verdict: Verdict) -> str:
    return "## Findings\n\n" + _table(
        ("rule", "outcome", "reason"),
        [(one.rule, one.outcome, one.reason) for one in verdict.findings],
    )


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in lines)


def _cell(text: str) -> str:
    """Return a text as one cell: it may come from a policy, a waiver or a file name, and is no
    markup.
    """
    return " ".join(text.split()).replace("|", "/").replace("<", "&lt;")
