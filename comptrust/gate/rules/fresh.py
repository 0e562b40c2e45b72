"""Fresh: candidate and baseline were measured by the same generation of the code.

Paper: the comparison of compressed and dense models rests on one evaluation protocol for both.
"""

from __future__ import annotations

from typing import ClassVar

from comptrust.gate.base import Evidence, Rule
from comptrust.records import Finding
from comptrust.trust.evaluation import Evaluation


class Fresh(Rule):
    """Require the same major version of the code behind both scorecards.

    - {rule: fresh}
    """

    name: ClassVar[str] = "fresh"

    def check(self, evidence: Evidence) -> Finding:
        """Find inconclusive if the versions differ or one is unknown."""
        if evidence.baseline is None:
            return self.found("inconclusive", "There is no dense baseline.")
        mine, dense = _major(evidence.candidate), _major(evidence.baseline)
        if mine is None or dense is None:
            return self.found(
                "inconclusive",
                "A scorecard does not say which version of the code measured it. Evaluate again.",
            )
        if mine != dense:
            return self.found(
                "inconclusive",
                f"Measured by version {mine} and {dense} of the code. Evaluate the older one"
                " again.",
            )
        return self.found("pass", f"Both were measured by version {mine} of the code.", major=mine)


def _major(evaluation: Evaluation) -> str | None:
    version = evaluation.scorecard.provenance.get("code_version", "")
    major = version.split(".")[0]
    return major if major.isdigit() else None
