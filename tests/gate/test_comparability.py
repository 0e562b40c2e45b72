"""A baseline passes only if it is proven to be the dense source, computed and asked alike."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from comptrust.errors import UserError
from comptrust.gate import comparability
from comptrust.gate import policy as policies
from comptrust.gate.evidence import Evidence
from comptrust.trust.evaluation import Evaluation
from tests.support.evaluations import DENSE, EIGHT, evaluation, policy

SCORES = {"mmlu": 80.0}


def of(recipe: Any, checkpoint: bool = True, digest: str | None = None, **facts: Any) -> Evaluation:
    """Return an evaluation with or without a checkpoint record, and facts in its provenance."""
    made = evaluation(recipe, SCORES)
    stated = made.scorecard.provenance | facts
    fields = {
        "provenance": {name: value for name, value in stated.items() if value is not None},
        "checkpoint_digest": digest or made.scorecard.checkpoint_digest,
    }
    return dataclasses.replace(
        made,
        scorecard=made.scorecard.model_copy(update=fields),
        checkpoint=made.checkpoint if checkpoint else None,
    )


def with_record(**fields: Any) -> Evaluation:
    made = evaluation(DENSE, SCORES)
    assert made.checkpoint is not None
    return dataclasses.replace(made, checkpoint=made.checkpoint.model_copy(update=fields))


def shown(weights: str, digest: str = "r") -> Evaluation:
    """Return a baseline of which only the scorecard says what its weights showed."""
    return of(DENSE, checkpoint=False, digest=digest, weights=weights)


BARE = of(DENSE, checkpoint=False)
NATIVE = "quantized (fp8)"


@pytest.mark.parametrize(
    ("baseline", "dense", "reason"),
    [
        (with_record(), "proven", None),
        (with_record(effective_bits=4.25), "proven", "quantized (4.25 bits per weight)"),
        (with_record(sparsity=0.5), "proven", "pruned (50% zeros)"),
        (with_record(digest="another"), "proven", "belongs to a different checkpoint"),
        (of(DENSE, weights=NATIVE), "proven", "not dense: its weights are quantized (fp8)"),
        (of(DENSE, weights=NATIVE), "native", None),
        (of(DENSE, weights="pruned (50% zeros)"), "native", "pruned"),
        (of(DENSE, weights="pruned (50% zeros)"), "declared", "pruned"),
        (shown("dense (BF16)"), "proven", None),
        (shown("dense (BF16)", digest="x"), "proven", "is not the model that the candidate was"),
        (shown(NATIVE), "proven", "a policy may say `dense: native`"),
        (shown(NATIVE), "declared", "a policy may say `dense: native`"),
        (BARE, "proven", "a policy may say `dense: declared`"),
        (BARE, "native", "Nothing shows that the baseline is dense"),
        (BARE, "declared", None),
        (of(EIGHT), "declared", "is not dense but gptq-8bit"),
    ],
)
def test_what_is_dense_is_proven(baseline: Evaluation, dense: Any, reason: str | None) -> None:
    judged = dataclasses.replace(policy(), dense=dense)
    finding = comparability.check(Evidence(evaluation(EIGHT, SCORES), baseline), judged)
    assert (finding.outcome == "pass") == (reason is None), finding.reason
    assert (reason or "") in finding.reason


def test_the_finding_says_what_the_dense_weights_were_made_from() -> None:
    weights = "dense (BF16, dequantized from Q4_1)"
    evidence = Evidence(evaluation(EIGHT, SCORES), of(DENSE, weights=weights))
    finding = comparability.check(evidence, policy())
    assert finding.outcome == "pass" and weights in finding.reason
    assert finding.evidence == {"baseline_weights": weights}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dtype", "torch.bfloat16"),
        ("dtype", None),
        ("backend", "openai"),
        ("torch", "2.14.0"),
        ("transformers", "5.18.0"),
        ("server_version", "vllm 0.33"),
    ],
)
@pytest.mark.parametrize("dense", ["proven", "declared"])
def test_other_numbers_and_engines_are_not_compared(name: str, value: Any, dense: Any) -> None:
    judged = dataclasses.replace(policy(), dense=dense)
    finding = comparability.check(Evidence(of(EIGHT, **{name: value}), of(DENSE)), judged)
    assert finding.outcome == "inconclusive"
    assert f"{name} differs" in finding.reason and "same engine and dtype" in finding.reason


@pytest.mark.parametrize("value", [None, "not told"])
def test_an_unknown_dtype_never_passes_unless_answers_are_declared(value: str | None) -> None:
    evidence = Evidence(of(EIGHT, dtype=value), of(DENSE, dtype=value))
    finding = comparability.check(evidence, policy())
    assert finding.outcome == "inconclusive" and "do not say which dtype" in finding.reason
    declared = dataclasses.replace(policy(), dense="declared")
    assert comparability.check(evidence, declared).outcome == "pass"


def test_a_policy_file_says_how_dense_is_shown(tmp_path: Any) -> None:
    text = "name: x\nrules: [{rule: complete}]\n"
    loaded = {}
    for name, line in {
        "": "",
        "proven": "dense: proven\n",
        "declared": "dense: declared\n",
    }.items():
        path = tmp_path / f"p{name}.yaml"
        path.write_text(text + line)
        loaded[name] = policies.load(str(path))
    assert loaded[""].digest == loaded["proven"].digest != loaded["declared"].digest
    path.write_text(f"{text}dense: believed\n")
    with pytest.raises(UserError, match="dense"):
        policies.load(str(path))
