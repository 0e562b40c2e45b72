"""Runs of a real store, read as entries of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comptrust.errors import UserError
from comptrust.records import Finding, Verdict
from comptrust.report import entries, page
from comptrust.tracking import metrics, runs
from tests.support.records import checkpoint_of, scorecard_of


def logged(
    tiny: Path,
    *,
    value: float | None = 50.0,
    fail: bool = False,
    judged: bool = True,
    **fields: object,
) -> str:
    """Log a run of the tiny model with a score, a verdict and one flip; return its id."""
    checkpoint = checkpoint_of(tiny, **fields)
    card = scorecard_of(checkpoint, value=value)
    finding = Finding(
        rule="max_drop",
        outcome="block",
        reason="Dropped 7.0.",
        evidence={"points": 5, "dimensions": {"mmlu": {"observed": 7}}},
    )
    digests = {
        "policy_digest": "7" * 64,
        "checkpoint_digest": checkpoint.digest,
        "scorecard_digest": card.digest_of_fields(),
    }
    verdict = Verdict(policy="staging", baseline_digest=None, findings=(finding,), **digests)
    try:
        with runs.start("one") as run:
            run.recipe(checkpoint.recipe, suite="mini")
            run.checkpoint(checkpoint)
            run.metrics(metrics.score_metrics(card))
            run.tags(metrics.scorecard_tags(card))
            if judged:
                run.verdict(verdict)
                flip = {
                    "dimension": ["mmlu"],
                    "prompt": ["2 + 2 ="],
                    "dense": ["4"],
                    "compressed": ["5"],
                }
                runs.client().log_table(run.id, data=flip, artifact_file="flips.json")
            if fail:
                raise UserError("stopped")
    except UserError:
        assert fail
    return run.id


def test_a_run_becomes_an_entry_with_its_verdict_and_flips(store: Path, tiny: Path) -> None:
    run_id = logged(tiny)
    (entry,) = entries.read()
    assert entry == entries.read_run(run_id)
    assert (entry.model, entry.method, entry.bits, entry.group_size, entry.seed) == (
        "builtin:tiny",
        "gptq",
        4,
        32,
        0,
    )
    assert (entry.source, entry.suite, entry.bytes, entry.ratio, entry.run_id) == (
        "own",
        "5" * 64,
        100,
        4,
        run_id,
    )
    assert (entry.scores, entry.refusals) == ({"mmlu": 50.0}, {"mmlu": 2.0})
    assert entry.verdict is not None
    assert entry.verdict.outcome == "block"
    assert entry.flips == (
        {"dimension": "mmlu", "prompt": "2 + 2 =", "dense": "4", "compressed": "5"},
    )
    html = page.render_card(entry)
    assert "Dropped 7.0." in html
    assert "2 + 2 =" in html
    assert "Dashed: 5 points allowed." in html


def test_a_run_links_to_its_page_and_the_link_holds_no_password(store: Path, tiny: Path) -> None:
    run_id = logged(tiny)
    path = f"/#/experiments/1/runs/{run_id}?workflowType=machine_learning"
    assert entries.read_run(run_id).url == f"http://127.0.0.1:5000{path}"
    (entry,) = entries.read(ui="https://me:hidden@host:8443/mlflow/")
    assert entry.url == f"https://host:8443/mlflow{path}"


def test_failed_and_unscored_runs_are_no_entries_and_order_is_by_age(
    store: Path, tiny: Path
) -> None:
    logged(tiny, fail=True)
    logged(tiny, value=None)
    for seed in (1, 0):
        logged(tiny, seed=seed, judged=False)
    rows = entries.read()
    assert [entry.seed for entry in rows] == [1, 0]
    assert [(entry.verdict, entry.flips) for entry in rows] == [(None, ())] * 2


def test_what_cannot_be_read_is_named(store: Path, tiny: Path) -> None:
    with pytest.raises(UserError, match=r"Unknown experiment 'comptrus'. Known: .*"):
        entries.read("comptrus")
    broken = logged(tiny)
    runs.client().log_text(broken, "{}", "verdict.json")
    with pytest.raises(UserError, match=f"comptrust gate runs:/{broken}"):
        entries.read()


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        ({"method": "fp8", "options": {"scheme": "static", "kv_cache": "fp8"}}, "static fp8 cache"),
        ({"method": "fp8", "options": {"scheme": "block", "kv_cache": "none"}}, "block"),
        ({"method": "gguf", "format": "gguf:q8_0"}, "gguf:q8_0"),
        ({"method": "rtn", "format": "compressed-tensors"}, ""),
    ],
)
def test_a_row_says_all_that_tells_its_recipe_from_others(
    store: Path, tiny_model: Path, recipe: dict[str, Any], form: str
) -> None:
    run_id = logged(tiny_model, bits=8, group_size=None, **recipe)
    assert entries.read_run(run_id).form == f"8 bits {form}".strip()


@pytest.mark.parametrize(
    ("weights", "form"),
    [
        ({}, "16 bits"),
        ({"weights": "dense (BF16)"}, "16 bits"),
        (
            {"weights": "dense (BF16, dequantized from Q4_1)"},
            "16 bits, dequantized from Q4_1",
        ),
    ],
)
def test_a_dense_row_says_what_its_weights_were_made_from(
    store: Path, tiny_model: Path, weights: dict[str, str], form: str
) -> None:
    run_id = logged(tiny_model, method="none", bits=None, group_size=None)
    runs.Run(run_id).tags(weights)
    assert entries.read_run(run_id).form == form
