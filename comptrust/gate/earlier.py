"""A block of the same bytes stands until all of its items are answered again, and more.

Otherwise a blocked model could be judged again on fewer or other prompts, and pass. Where keys are
trusted, the bar for that must have been sealed before, or somebody could try until one set passes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from comptrust.gate.evidence import Evidence
from comptrust.gate.signing import keys, seals
from comptrust.records import Finding
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.ledger import of_prompt

RULE = "earlier_block"
"""The name of the finding, which a named human may waive."""
SUITE = ("name", "revision", "scoring", "scorers")


def check(
    evidence: Evidence, trusted: keys.Trusted, scope: Mapping[str, Any] | None = None
) -> Finding | None:
    """Return a finding on the earlier blocks of the candidate's bytes; None if there are none.

    It passes if the candidate answered a strict superset of the items of each, in a sealed
    evaluation if keys are trusted.
    """
    if not evidence.blocked:
        return None
    standing = [block for block in evidence.blocked if not _answers(evidence.candidate, block)]
    named = {"blocked": [block.ref for block in evidence.blocked]}
    open_bar = seals.refusal(evidence.candidate, trusted, scope=scope) if trusted else ""
    if not standing and open_bar:
        reason = (
            f"The same bytes were blocked before ({_refs(evidence.blocked)}), which only a sealed"
            f" evaluation ends, but {open_bar}."
        )
        return Finding(rule=RULE, outcome="inconclusive", reason=reason, evidence=named)
    if not standing:
        reason = (
            f"The same bytes were blocked before ({_refs(evidence.blocked)}); all of those items"
            " and more were asked again."
        )
        return Finding(rule=RULE, outcome="pass", reason=reason, evidence=named)
    gone = [block for block in standing if block.suite is None]
    reason = f"The same bytes were blocked before ({_refs(standing)}), and " + (
        f"the answers of {_refs(gone)} are gone, so none can be shown to be to more items. A named"
        " person may waive it (comptrust waive earlier_block), or compress the model again."
        if gone
        else "this evaluation does not ask all of those items and more. Evaluate it on a larger"
        " part of the same suite, in a run of its own, or compress the model again."
    )
    return Finding(rule=RULE, outcome="inconclusive", reason=reason, evidence=named)


def _refs(evaluations: Iterable[Evaluation]) -> str:
    return ", ".join(evaluation.ref for evaluation in evaluations)


def _answers(candidate: Evaluation, block: Evaluation) -> bool:
    """Whether the candidate answered more than the items of a block, of the same suite."""
    ours, theirs = candidate.suite, block.suite
    if ours is None or theirs is None:
        return False
    alike = ours.model_dump(include={*SUITE}) == theirs.model_dump(include={*SUITE})
    asked = _items(block)
    return alike and bool(asked) and asked < _items(candidate)


def _items(evaluation: Evaluation) -> set[str]:
    """Return what was asked, as far as the answers show it themselves."""
    return {
        of_prompt(row)
        for rows in evaluation.generations.values()
        for row in rows
        if row.withheld is None
    }
