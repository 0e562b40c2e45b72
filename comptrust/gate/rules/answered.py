"""Answered: hardly any answer may be missing, on either side.

An answer that a server filtered or aborted says nothing about the model. It is neither good nor
bad, and many of them leave the score unknown.
"""

from pydantic import Field

from comptrust.gate.rule import Evidence, Finding, Rule, Score
from comptrust.records import TOO_LONG
from comptrust.text_tables import counted


class Answered(Rule):
    """Return inconclusive if more than `percent` of a dimension's answers were not given.

    - {rule: answered, percent: 1}

    Fewer count as lost in the bound of `max_drop`. Prompts beyond the dense model's context window
    are left out of both sides and only counted.
    """

    percent: float = Field(default=1.0, ge=0, lt=100)
    """Largest share of a dimension's prompts without an answer, in percent."""

    def check(self, evidence: Evidence) -> Finding:
        """Count, by dimension and side, the answers that were not given."""
        baseline = evidence.baseline.scorecard.scores if evidence.baseline else ()
        sides = {"candidate": evidence.candidate.scorecard.scores, "dense": baseline}
        if not sides["candidate"]:
            return self.inconclusive("The scorecard has no dimensions.")
        beyond = {score.dimension: _beyond(score) for score in baseline}
        counts, problems = {}, []
        for side, scores in sides.items():
            counts[side] = {score.dimension: score.withheld for score in scores if score.withheld}
            for score in scores:
                left_out = beyond.get(score.dimension, {})
                missing = _missing(score, left_out)
                if missing * 100 > self.percent * (score.n_prompts - sum(left_out.values())):
                    problems.append(f"{score.dimension} ({side}): {_described(score, missing)}")
        if problems:
            return self.inconclusive(
                f"More than {self.percent:g}% of the answers are missing: {'; '.join(problems)}.",
                **counts,
            )
        total = sum(sum(scenarios.values()) for scenarios in beyond.values())
        note = f" {counted(total, 'prompt')} beyond the context window left out." if total else ""
        return self.finding(
            "pass",
            f"In no dimension are more than {self.percent:g}% of the answers missing.{note}",
            **counts,
        )


def _beyond(score: Score) -> dict[str, int]:
    """Return scenario -> prompts beyond the context window."""
    return {name: reasons.get(TOO_LONG, 0) for name, reasons in score.withheld.items()}


def _missing(score: Score, beyond: dict[str, int]) -> int:
    """Count the answers that are missing, except as many as the dense model's window leaves out."""
    left_out = [min(count, beyond.get(name, 0)) for name, count in _beyond(score).items()]
    return score.n_withheld - sum(left_out)


def _described(score: Score, missing: int) -> str:
    worst = max(score.withheld, key=lambda name: sum(score.withheld[name].values()))
    reasons = dict.fromkeys(reason for each in score.withheld.values() for reason in each)
    return (
        f"{missing} of {score.n_prompts} prompts ({', '.join(reasons)}; most in scenario {worst})"
    )
