"""What a rule is: it looks at a candidate, its dense baseline and their siblings, and finds pass, block or inconclusive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from comptrust.records import Finding
from comptrust.trust.evaluation import Evaluation


@dataclass(frozen=True)
class Evidence:
    """All that a verdict may rest on."""

    candidate: Evaluation
    baseline: Evaluation | None
    """The dense source, evaluated on the same suite; None when there is none."""
    siblings: tuple[Evaluation, ...] = ()
    """Other compressed versions of the same source, other calibration seeds included."""


class Rule(BaseModel, ABC):
    """A rule is its parameters; a policy file names it and sets them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @abstractmethod
    def check(self, evidence: Evidence) -> Finding:
        """Judge; what is not measured or not comparable is never a pass."""
