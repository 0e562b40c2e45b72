"""The policy's rules beside `max_drop`, on what a candidate of a search was asked.

A rule that also stops a copy of the dense model on the same prompts says nothing about the
candidate, so only what a copy would pass counts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.records import SEVERITY, Checkpoint, Finding, Generation
from comptrust.trust import scoring
from comptrust.trust.evaluation import Evaluation

Answers = Mapping[str, Sequence[Generation]]
"""Dimension -> answers."""


def against_dense(policy: Policy, dense: Evaluation) -> Iterable[Finding]:
    """Yield what stops a copy of the dense model, and so every candidate."""
    return _stopping(policy, _copy(dense), dense)


def before_asking(policy: Policy, record: Checkpoint, dense: Evaluation) -> Finding | None:
    """Return what stops a checkpoint even if it answers exactly as the dense model does."""
    best = replace(_copy(dense, record.digest), checkpoint=record)
    return _worst(_stopping(policy, best, dense))


def after_asking(
    policy: Policy, record: Checkpoint, dense: Evaluation, *, answers: Answers, reference: Answers
) -> Finding | None:
    """Return what stops a checkpoint on the prompts asked but would not stop a dense copy.

    `reference` has the dense model's answers to the same prompts.
    """
    part, given = (_answering(dense, rows) for rows in (reference, answers))
    ours = replace(_copy(given, record.digest), checkpoint=record)
    excused = {_which(finding) for finding in _stopping(policy, _copy(part), part)}
    return _worst(one for one in _stopping(policy, ours, part) if _which(one) not in excused)


def _stopping(policy: Policy, candidate: Evaluation, dense: Evaluation) -> Iterable[Finding]:
    evidence = Evidence(candidate, dense).without(policy.exclude)
    for rule in policy.rules:
        if isinstance(rule, MaxDrop):  # the course of the search decides it
            continue
        if (finding := rule.check(evidence)).outcome != "pass":
            yield finding


def _which(finding: Finding) -> tuple[str, object]:
    """Return what tells a rule of a policy from its others."""
    return finding.rule, finding.evidence.get("scope")


def _worst(findings: Iterable[Finding]) -> Finding | None:
    return max(findings, key=lambda one: SEVERITY.index(one.outcome), default=None)


def _copy(evaluated: Evaluation, digest: str = "copy") -> Evaluation:
    """Return an evaluation as that of other bytes than the dense model's."""
    card = evaluated.scorecard.model_copy(update={"checkpoint_digest": digest})
    return replace(evaluated, scorecard=card)


def _answering(dense: Evaluation, answers: Answers) -> Evaluation:
    """Return the dense evaluation with other answers, to some of its prompts."""
    assert dense.suite
    prompts = {name: dict(Counter(row.scenario for row in rows)) for name, rows in answers.items()}
    required = {
        name: tuple(one for one in scenarios if one in prompts[name])
        for name, scenarios in dense.suite.required.items()
        if name in prompts
    }
    suite = dense.suite.model_copy(update={"n_prompts": prompts, "required": required})
    scores = scoring.score(
        (row for rows in answers.values() for row in rows),
        suite=suite,
        scoring=dense.scoring,
        allow_partial=True,
    )
    card = dense.scorecard.model_copy(update={"scores": scores})
    given = {name: list(rows) for name, rows in answers.items()}
    return replace(dense, scorecard=card, suite=suite, generations=given)
