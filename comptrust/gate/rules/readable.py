"""Readable: a score means something only if the dense model's answers can be read.

An answer that the published parser cannot read counts as wrong or as a refusal. If that happens to
most answers of both models, they score alike, whatever compression did.
"""

from pydantic import Field

from comptrust.gate.rule import Evidence, Finding, Rule
from comptrust.trust.readability import unread


class Readable(Rule):
    """Return inconclusive if over `percent` of the dense answers in a scenario cannot be read.

    - {rule: readable, percent: 20}
    """

    percent: float = Field(default=20.0, ge=0, lt=100)
    """Largest share of unreadable answers in a scenario, in percent."""

    def check(self, evidence: Evidence) -> Finding:
        """Name each dimension with such a scenario, and the likely cause."""
        baseline = evidence.comparable_baseline
        if baseline is None:
            return self.inconclusive("Cannot read the dense answers: no comparable dense baseline.")
        names = [score.dimension for score in baseline.scorecard.scores]
        if absent := [name for name in names if name not in baseline.generations]:
            return self.inconclusive(
                f"Cannot tell whether the dense answers can be read: those to {', '.join(absent)}"
                " are not available."
            )
        problems, shares = [], {}
        for name in names:
            table = baseline.table(name)
            if table is None:
                continue
            scenarios = unread(baseline.generations[name], table)
            over = [one for one in scenarios if one.percent > self.percent]
            if over:
                shares[name] = {one.scenario: one.percent for one in over}
                worst = max(over, key=lambda one: one.percent)
                problems.append(
                    f"{name}: {worst.percent:.0f}% in {worst.scenario}, for example"
                    f" {worst.example!r}; likely cause: {worst.cause}"
                )
        if problems:
            return self.inconclusive(
                f"The dense model's answers cannot be read: {'; '.join(problems)}.",
                unreadable=shares,
            )
        return self.finding(
            "pass",
            f"In every scenario at least {100 - self.percent:g}% of the dense answers are"
            " readable.",
        )
