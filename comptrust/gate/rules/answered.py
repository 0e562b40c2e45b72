"""Answered: hardly any answer may be missing, on either side.

An answer that a server filtered or aborted says nothing about the model. It is neither good nor
bad, and many of them leave the score unknown.
"""

from pydantic import Field

from comptrust.gate.rule import Evidence, Finding, Rule, Score
from comptrust.records import TOO_LONG


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
        baseline = evidence.baseline.scorecard if evidence.baseline else None
        dense = {score.dimension: score for score in baseline.scores} if baseline else {}
        ours = {score.dimension: score for score in evidence.candidate.scorecard.scores}
        if not ours:
            return self.inconclusive("The scorecard has no dimensions.")
        sides = {"candidate": ours, "dense": dense}
        counts = {side: _withheld(scores) for side, scores in sides.items()}
        problems = []
        for side, scores in sides.items():
            for name, score in scores.items():
                missing = _unanswered(score, dense.get(name))
                if missing * 100 > self.percent * score.n_prompts:
                    problems.append(f"{name} ({side}): {_described(score, missing)}")
        if problems:
            return self.inconclusive(
                f"More than {self.percent:g}% of the answers are missing: {'; '.join(problems)}.",
                **counts,
            )
        beyond = sum(_count(score, TOO_LONG) for score in (dense or ours).values())
        left_out = f" {beyond} prompts beyond the context window are left out." if beyond else ""
        return self.finding(
            "pass",
            f"In no dimension are more than {self.percent:g}% of the answers missing.{left_out}",
            **counts,
        )


def _withheld(scores: dict[str, Score]) -> dict[str, dict[str, dict[str, int]]]:
    return {name: score.withheld for name, score in scores.items() if score.withheld}


def _count(score: Score, reason: str) -> int:
    return sum(reasons.get(reason, 0) for reasons in score.withheld.values())


def _unanswered(score: Score, dense: Score | None) -> int:
    """Count answers that were not given, without those left out of both sides."""
    left_out = dense.withheld if dense else {}
    return sum(
        count - min(count, left_out.get(scenario, {}).get(reason, 0)) * (reason == TOO_LONG)
        for scenario, reasons in score.withheld.items()
        for reason, count in reasons.items()
    )


def _described(score: Score, missing: int) -> str:
    worst = max(score.withheld, key=lambda name: sum(score.withheld[name].values()))
    reasons = dict.fromkeys(reason for each in score.withheld.values() for reason in each)
    return (
        f"{missing} of {score.n_prompts} prompts ({', '.join(reasons)}; most in scenario {worst})"
    )
