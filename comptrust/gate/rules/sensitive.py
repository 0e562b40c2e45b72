"""Sensitive: a dimension can pass only if known damage to the dense model is noticed there.

Paper: the risk of compression "cannot be uncovered by looking at benign performance alone"; neither
can it be by a test that passes a damaged model.
"""

from pydantic import Field

from comptrust.gate import control
from comptrust.gate.rule import Evidence, Finding, Rule, matching, measured


class Sensitive(Rule):
    """Require that `max_drop` notices harmful flips planted in the dense model's answers.

    - {rule: sensitive, points: 5, noticed: 0.95}

    They are planted anew in each judgment, so no record of it has to be trusted.
    """

    points: float = Field(default=5.0, gt=0, lt=100)
    """The margin of `max_drop`; the planted drops are 5 points larger."""
    dimensions: tuple[str, ...] = ()
    """Dimensions to judge, or patterns such as `lm-eval/*`; all by default."""
    noticed: float = Field(default=0.95, gt=0, le=1)
    """Least share of the planted drops that must not have passed, 0-1."""

    def check(self, evidence: Evidence) -> Finding:
        """Return inconclusive for a dimension in which too little, or nothing, was noticed."""
        if evidence.same_model:
            return self.does_not_apply("the dense model itself")
        if (baseline := evidence.comparable_baseline) is None:
            return self.inconclusive("Cannot tell what would be noticed: no comparable baseline.")
        problems, shares = {}, {}
        for name in matching(self.dimensions, measured(baseline)):
            if baseline.table(name) is None:
                problems[name] = "the answers are not available"
                continue
            planted = control.plant(baseline, name, self.points)
            shares[name] = planted.noticed
            if planted.noticed < self.noticed:
                problems[name] = planted.why or (
                    f"{planted.noticed:.0%} of {control.SEEDS} planted drops were noticed"
                )
        damage = f"a drop of {self.points + control.BEYOND:g} points"
        if problems or not shares:
            listed = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
            return self.inconclusive(
                f"Not shown to notice {damage}: {listed or 'no dimension was measured'}. Such a"
                " dimension cannot pass.",
                noticed=shares,
                problems=problems,
            )
        least = min(shares, key=lambda name: shares[name])
        return self.finding(
            "pass",
            f"Every dimension notices {damage} (least often: {least}, {shares[least]:.0%} of"
            f" {control.SEEDS}).",
            noticed=shares,
        )
