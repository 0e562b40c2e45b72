"""Fresh: candidate and baseline were measured by the same major version of the code.

Paper: compressed and dense models are compared under one evaluation protocol.
"""

from comptrust.gate.rule import Evaluation, Evidence, Finding, Rule


class Fresh(Rule):
    """Require the same major version of the code behind both scorecards.

    - {rule: fresh}
    """

    def check(self, evidence: Evidence) -> Finding:
        """Return inconclusive if the versions differ or one is unknown."""
        if evidence.baseline is None:
            return self.inconclusive("There is no dense baseline.")
        ours, dense = _major(evidence.candidate), _major(evidence.baseline)
        if not (ours and dense):
            return self.inconclusive(
                "A scorecard does not say which version of the code measured it. Evaluate that"
                " model again."
            )
        if ours != dense:
            return self.inconclusive(
                f"The candidate was measured by version {ours}.x of the code, the baseline by"
                f" version {dense}.x. Evaluate the older one again."
            )
        return self.finding("pass", f"Version {ours}.x of the code measured both.", major=ours)


def _major(evaluation: Evaluation) -> str:
    """Return the major version, empty if it is unknown."""
    major = evaluation.scorecard.provenance.get("code_version", "").split(".")[0]
    return major if major.isdigit() else ""
