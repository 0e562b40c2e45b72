"""Whether a candidate can be compared with its baseline, and whether that is its dense source."""

from typing import Any

from comptrust.gate.evidence import Evidence, differences
from comptrust.gate.policy import Policy
from comptrust.records import Finding, Recipe, Result
from comptrust.trust.evaluation import Evaluation


def check(evidence: Evidence, policy: Policy) -> Finding:
    """Return whether the candidate is the evaluated one and can be compared with its baseline."""
    candidate, baseline = evidence.candidate, evidence.baseline
    if baseline is None:
        return _finding(
            "inconclusive",
            "There is no dense baseline. Evaluate the dense source on the same suite.",
        )
    if _is_another(candidate):
        return _finding(
            "block",
            "The scorecard belongs to a different checkpoint than checkpoint.json. Evaluate the"
            " candidate again.",
        )
    if doubt := _doubt(baseline, policy, made_into=evidence.recipe):
        return _finding("inconclusive", doubt)
    if reason := _uncompressed(evidence, policy):
        return _finding("inconclusive", reason)
    sizes = [one.checkpoint.dense_bytes for one in (candidate, baseline) if one.checkpoint]
    if len(set(sizes)) > 1:
        return _finding(
            "inconclusive",
            f"The dense source has {sizes[0]} bytes in the candidate's checkpoint.json and"
            f" {sizes[1]} in the baseline's. Compress and evaluate both again.",
        )
    if different := differences(candidate, baseline):
        verb = "differs" if len(different) == 1 else "differ"
        return _finding(
            "inconclusive",
            f"Candidate and baseline cannot be compared: {', '.join(different)} {verb}. Evaluate"
            " both on the same suite, with the same engine and dtype.",
            different=different,
        )
    unknown = [name for name in ("backend", "dtype") if name not in candidate.scorecard.engine]
    if unknown and not _declared(baseline, policy):
        return _finding(
            "inconclusive",
            f"The scorecards do not say which {' and '.join(unknown)} gave the answers. Evaluate"
            " both again, with an engine that says so.",
        )
    weights = baseline.scorecard.provenance.get("weights")
    shown = {"baseline_weights": weights} if weights else {}
    alike = "rendered, computed and scored alike."
    if unknown:
        alike = "scored alike. That the baseline is dense and both were computed alike is declared."
    if weights:
        alike += f" Weights of the baseline: {weights}."
    return _finding(
        "pass", f"Candidate and dense baseline answered the same prompts, {alike}", **shown
    )


def _uncompressed(evidence: Evidence, policy: Policy) -> str | None:
    """Return why nothing was compressed, so that nothing is compared; None if something was."""
    ours, baseline = evidence.candidate.checkpoint, evidence.baseline
    if ours is None or policy.dense == "allowed":
        return None
    if ours.recipe.method == "none":
        return (
            "The candidate is declared dense (method none), so it would be compared with itself,"
            f" and policy {policy.name} judges compression. State how it was compressed (--method"
            " and --base), or use a policy that says `dense: allowed`."
        )
    if baseline and baseline.scorecard.checkpoint_digest == ours.digest:
        return (
            "The baseline has the candidate's own bytes, so it is not its dense source. Name the"
            " dense source's evaluation (--baseline)."
        )
    return None


def _doubt(baseline: Evaluation, policy: Policy, *, made_into: Recipe | None) -> str | None:
    """Return why the baseline is not proven to be the candidate's dense source, None if it is."""
    if _is_another(baseline):
        return (
            "The baseline's scorecard belongs to a different checkpoint than its checkpoint.json."
            " Evaluate the baseline again."
        )
    dense = baseline.recipe
    if dense and dense.method != "none":
        return f"The baseline is not dense but {dense.slug}. Name the dense source instead."
    declared, checkpoint = _declared(baseline, policy), baseline.checkpoint
    weights = baseline.scorecard.provenance.get("weights") or (checkpoint and checkpoint.weights)
    if not weights and not declared:
        return (
            "Nothing shows that the baseline is dense: no checkpoint.json, and its weights were not"
            " seen. Evaluate the dense model's folder. For published answers without weights, a"
            " policy may say `dense: declared`."
        )
    kind = (weights or "dense").partition(" ")[0]
    if kind != "dense" and not (kind == "quantized" and policy.dense == "native"):
        advice = "For a model that was trained so, a policy may say `dense: native`."
        return (
            f"The baseline is not dense: its weights are {weights}. Name the dense source instead."
            f"{f' {advice}' if kind == 'quantized' else ''}"
        )
    if dense is None and declared:
        return None
    revision = dense.revision or dense.base_model if dense else baseline.scorecard.checkpoint_digest
    if made_into and revision != (made_into.revision or made_into.base_model):
        return (
            f"The baseline ({dense.base_model if dense else baseline.ref}) is not the model that"
            f" the candidate was made from ({made_into.base_model})."
        )
    return None


def _declared(baseline: Evaluation, policy: Policy) -> bool:
    """Whether somebody's word is enough: the policy says so, or a published table is judged."""
    return policy.dense == "declared" or baseline.stated_recipe is not None


def _is_another(evaluation: Evaluation) -> bool:
    """Whether the scorecard is not that of the checkpoint beside it."""
    checkpoint = evaluation.checkpoint
    return bool(checkpoint and checkpoint.digest != evaluation.scorecard.checkpoint_digest)


def _finding(outcome: Result, reason: str, **evidence: Any) -> Finding:
    return Finding(rule="comparable", outcome=outcome, reason=reason, evidence=evidence)
