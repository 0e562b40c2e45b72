"""Whether an evaluation that did not ask everything stopped where its rule stops.

The rule is followed again from the answers, so whoever evaluated chooses neither what is asked nor
when to stop.
"""

from dataclasses import replace
from typing import Any

from comptrust.errors import UserError
from comptrust.gate import pins
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.rule import matching
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.gate.sequential import follow
from comptrust.records import Checkpoint, Finding, Recipe, Result, Suite
from comptrust.trust import content, stopped
from comptrust.trust.evaluation import Evaluation

RULE = "stopping"
"""The name of the finding, which nobody can waive."""


def margins(
    suite: Suite, policy: Policy, recipe: Recipe, record: Checkpoint | None = None
) -> dict[str, float]:
    """Return the smallest margin of each dimension that a policy judges, in points.

    `record` is what the model's files show, once there are any. Raises UserError if the policy does
    not let an evaluation of such a model stop early.
    """
    if policy.evidence != "sequential":
        raise UserError(
            f"Policy {policy.name} does not accept an evaluation that stops early. Use --stop full,"
            " or a policy that says `evidence: sequential`."
        )
    if full := [rule.name for rule in policy.rules if rule.needs_all(recipe, record)]:
        raise UserError(
            f"Policy {policy.name} asks for every answer of {recipe.slug} (rule {full[0]}), so its"
            " evaluation cannot stop early. Use --stop full."
        )
    if suite.sample:
        raise UserError(
            "Only a whole suite can be asked until it is certain, and this one is a sample. Leave"
            " out --limit."
        )
    smallest: dict[str, float] = {}
    for rule in policy.rules:
        if isinstance(rule, MaxDrop) and rule.applies(recipe, record):
            for name in matching(rule.dimensions, suite.by_dimension()):
                smallest[name] = min(smallest.get(name, 100.0), rule.points)
    if not smallest:
        raise UserError(
            f"Policy {policy.name} has no max_drop rule for {recipe.slug}, so nothing decides when"
            " to stop. Use --stop full."
        )
    return smallest


def check(evidence: Evidence, policy: Policy) -> tuple[Finding | None, Evidence]:
    """Return the finding on an early stop, and the evidence as the rules judge it.

    Without an early stop there is no finding. If the stop is not the rule's, dimensions that were
    asked in part stay unmeasured.
    """
    candidate, dense = evidence.candidate, evidence.baseline
    sides = [candidate, *filter(None, [dense])]
    if not any(one.suite and one.suite.stopped for one in sides):
        return None, evidence
    try:
        if dense is None or candidate.suite is None or candidate.suite.stopped is None:
            raise UserError("the candidate and its dense source were not asked the same part")
        if evidence.recipe is None:
            raise UserError("nothing says how the candidate was compressed")
        whole = evidence.suite or pins.whole(candidate.suite, policy.suites)
        asked = stopped.part(whole, candidate.suite.stopped)
        for one in (candidate, dense):
            if one.scorecard.suite_digest != asked.digest or not content.shows(
                one, content.of_suite(asked)
            ):
                raise UserError(f"{one.ref} has answers to other prompts than it states")
        allowed = margins(whole, policy, evidence.recipe, candidate.checkpoint)
        course = follow.replay(whole, allowed, candidate, dense)
    except UserError as error:
        reason = f"The evaluation stopped early, but {str(error).rstrip('.')}."
        return _finding("inconclusive", reason), evidence
    prompts = sum(len(rows) for rows in candidate.generations.values())
    reason = (
        f"Asked {prompts:,} of {len(whole.prompts):,} prompts and stopped by its rule:"
        f" {course.reason}"
    )
    facts = {
        "plan": course.plan.model_dump(mode="json"),
        "decisions": [one.model_dump(mode="json") for one in course.decisions],
    }
    followed = replace(
        evidence, candidate=_estimated(candidate), baseline=_estimated(dense), course=course
    )
    return _finding("pass", reason, **facts), followed


def _estimated(evaluated: Evaluation) -> Evaluation:
    """Return an evaluation whose estimates stand for its scores, as far as rules need them."""
    scores = tuple(
        score.model_copy(
            update={
                "value": score.estimate.value,
                "refusal_rate": score.estimate.refusal_rate,
                "missing": (),
            }
        )
        if score.estimate
        else score
        for score in evaluated.scorecard.scores
    )
    card = evaluated.scorecard.model_copy(update={"scores": scores})
    return replace(evaluated, scorecard=card)


def _finding(outcome: Result, reason: str, **evidence: Any) -> Finding:
    return Finding(rule=RULE, outcome=outcome, reason=reason, evidence=evidence)
