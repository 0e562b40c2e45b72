"""Complete: nothing that the suite asks is missing, partial or unscored.

Paper: the risk of compression "cannot be uncovered by looking at benign performance alone, in turn,
mandating comprehensive trustworthiness evaluation in practice"; a gap in the evaluation is not
evidence of safety.
"""

from comptrust.gate.rule import Evidence, Finding, Rule, Score, matching
from comptrust.text_tables import counted


class Complete(Rule):
    """Require a score for every dimension that the suite or the policy names.

    - {rule: complete, dimensions: [mmlu, ethics]}
    """

    dimensions: tuple[str, ...] = ()
    """Dimensions required in addition to those of the suite and of the baseline, or patterns of
    names such as `lm-eval/*`.
    """

    def check(self, evidence: Evidence) -> Finding:
        """Return inconclusive if a dimension has no score, is partial or has unscored prompts."""
        card, suite = evidence.candidate.scorecard, evidence.candidate.suite
        scores = [*card.scores, *(evidence.baseline.scorecard.scores if evidence.baseline else ())]
        asked = suite.n_prompts if suite else ()
        present = {*asked, *(score.dimension for score in scores)}
        required = present.union(matching(self.dimensions, present))
        if not required:
            return self.inconclusive("The scorecard has no dimensions.")
        problems = {name: _problem(card.score(name)) for name in sorted(required)}
        missing = {name: problem for name, problem in problems.items() if problem}
        if missing:
            listed = "; ".join(f"{name} {problem}" for name, problem in missing.items())
            return self.inconclusive(f"Incomplete: {listed}.", missing=missing)
        if evidence.course:
            count = counted(len(required), "dimension")
            return self.finding("pass", f"{count} asked as far as the stopping rule says.")
        given = all(not score.withheld for score in card.scores)
        rest = ", with no prompt left out" if given else ", except for answers that were not given"
        excluded = (
            f" The policy excludes {', '.join(evidence.excluded)}." if evidence.excluded else ""
        )
        if silent := {score.dimension for score in scores if score.value is None}:
            excluded += f" No measurable signal in the dense model: {', '.join(sorted(silent))}."
        return self.finding(
            "pass", f"{counted(len(required), 'dimension')} asked in full{rest}.{excluded}"
        )


def _problem(score: Score | None) -> str | None:
    if score is None:
        return "was not evaluated"
    missing = f": missing {', '.join(score.missing)}" if score.missing else ""
    # Whether too many answers were not given is for the rule `answered`.
    unscored = score.n_prompts - score.n_scored - score.n_withheld
    checks = (
        (score.value is None and not score.reason, f"has no score{missing}"),
        (score.partial or score.missing, f"is partial{missing}"),
        (score.n_prompts == 0, "does not say how many prompts were asked"),
        (unscored > 0, f"left {unscored} of {score.n_prompts} prompts unscored"),
    )
    return next((problem for wrong, problem in checks if wrong), None)
