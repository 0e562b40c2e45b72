"""The base class of rules: a rule checks the evidence and returns one finding."""

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from comptrust.gate.evidence import Evidence, differences, measured, points_lost
from comptrust.records import Checkpoint, Finding, Recipe, Result, Score
from comptrust.trust.evaluation import Evaluation

__all__ = [  # all that a rule needs
    "Checkpoint",
    "Evaluation",
    "Evidence",
    "Finding",
    "Recipe",
    "Rule",
    "Score",
    "change",
    "code_bits",
    "differences",
    "heavily_compressed",
    "matching",
    "measured",
    "points_lost",
]


class Rule(BaseModel, ABC):
    """A rule is its parameters; a policy file names it and sets them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    """The name of the rule's file, unless the class states another one."""
    waivable: ClassVar[bool] = False
    """Whether a named human may accept an inconclusive finding of this rule."""
    rests_on_scores: ClassVar[bool] = False
    """Whether a block is about scores, so that on too few items it decides nothing."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if "name" not in vars(cls):
            cls.name = cls.__module__.rpartition(".")[2]

    @property
    def scope(self) -> str:
        """What tells this rule from others of its kind in a policy; empty if nothing needs to."""
        return ""

    def needs_all(self, recipe: Recipe, record: Checkpoint | None = None) -> bool:
        """Return whether a model made so must have answered every prompt.

        `record` is what its files show, once there are any.
        """
        return False

    @abstractmethod
    def check(self, evidence: Evidence) -> Finding:
        """Judge; what is not measured or not comparable never passes."""

    def finding(self, outcome: Result, reason: str, **evidence: Any) -> Finding:
        """Return a finding of this rule."""
        if self.scope:
            evidence["scope"] = self.scope
        return Finding(rule=self.name, outcome=outcome, reason=reason, evidence=evidence)

    def inconclusive(self, reason: str, **evidence: Any) -> Finding:
        """Return an inconclusive finding of this rule."""
        return self.finding("inconclusive", reason, **evidence)

    def unknown_recipe(self) -> Finding:
        """Return the finding for a candidate that has only a scorecard."""
        return self.inconclusive(
            "Cannot tell how the candidate was compressed: no checkpoint.json. Judge its run or"
            " version instead."
        )

    def does_not_apply(self, to: str) -> Finding:
        """Return the finding for a candidate that the rule is not about."""
        return self.finding("pass", f"Does not apply to {to}.", applies=False)


def code_bits(recipe: Recipe, record: Checkpoint | None) -> tuple[int, int] | None:
    """Return a model's fewest bits and their mean, as its files show; None if not quantized.

    A limit from above is about the fewest bits, so that a few layers cannot hide among others; one
    from below is about the mean, so that a few layers do not lift it. Without files, and for older
    records and GGUF files, there are only the recipe's bits; of a mixed recipe the strictest count.
    """
    if recipe.bits is None:
        return None
    if record and record.code_bits:
        return record.code_bits
    widths = [recipe.bits, *(rule.bits for rule in recipe.layer_bits if rule.bits != "dense")]
    return min(widths), max(widths)


def heavily_compressed(
    recipe: Recipe, record: Checkpoint | None, *, bits_at_most: int, sparsity_at_least: float
) -> bool:
    """Whether a model has few enough bits or enough zeros to need more evidence."""
    bits = code_bits(recipe, record)
    if bits and bits[0] <= bits_at_most:
        return True
    return recipe.sparsity is not None and recipe.sparsity >= sparsity_at_least


def matching(patterns: Sequence[str], dimensions: Iterable[str]) -> list[str]:
    """Return the dimensions that fit a pattern, such as `lm-eval/*`; all, without patterns.

    A pattern that fits none stays, as the name of a dimension that was not measured.

    >>> matching(["lm-eval/*", "ethics"], ["mmlu", "lm-eval/arc_easy/acc"])
    ['lm-eval/arc_easy/acc', 'ethics']
    """
    known = list(dict.fromkeys(dimensions))
    if not patterns:
        return known
    fitting = (fnmatch.filter(known, pattern) or [pattern] for pattern in patterns)
    return list(dict.fromkeys(name for names in fitting for name in names))


def change(drop: float) -> str:
    """Describe a drop in points.

    >>> change(3.21), change(-1.5)
    ('dropped 3.2 points', 'gained 1.5 points')
    """
    return f"{'dropped' if drop >= 0 else 'gained'} {abs(drop):.1f} points"
