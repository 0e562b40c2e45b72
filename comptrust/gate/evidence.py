"""The evidence behind a verdict: the candidate, its dense baseline and their siblings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from comptrust import digests
from comptrust.records import ENGINE, Recipe, Suite
from comptrust.trust.evaluation import Evaluation

if TYPE_CHECKING:
    from comptrust.gate.sequential.course import Course


@dataclass(frozen=True)
class Evidence:
    """Everything a verdict may rest on."""

    candidate: Evaluation
    baseline: Evaluation | None
    """The dense source, evaluated on the same suite; None if there is none."""
    siblings: tuple[Evaluation, ...] = ()
    """Other compressed versions of the same source, including other calibration seeds."""
    blocked: tuple[Evaluation, ...] = ()
    """Other evaluations of the candidate's bytes that a policy which guards stages blocked."""
    excluded: tuple[str, ...] = ()
    """Scenarios that the policy left out, such as `mmlu/anatomy`."""
    model: str = ""
    """The registered name that the verdict is about; empty if it is unknown."""
    items_at_least: Mapping[str, int] = field(default_factory=dict)
    """Dimension -> fewest items that the policy asks for."""
    suite: Suite | None = None
    """The whole suite, if it is at hand: an evaluation that stopped early is a part of it."""
    course: Course | None = None
    """How an evaluation that stopped early was decided, followed again; None if it did not."""

    def without(self, names: Collection[str]) -> Evidence:
        """Leave out the named scenarios in which no prompt fits the dense model's context window.

        No other scenario can be left out by name.
        """
        left_out = tuple(name for name in names if self.baseline and self.baseline.is_beyond(name))
        if self.baseline is None or not left_out:
            return self
        return replace(
            self,
            candidate=self.candidate.without(left_out),
            baseline=self.baseline.without(left_out),
            excluded=left_out,
        )

    @property
    def recipe(self) -> Recipe | None:
        """The candidate's recipe, or None if only its scorecard is available."""
        return self.candidate.recipe

    @property
    def comparable_baseline(self) -> Evaluation | None:
        """The baseline, if it answered the same prompts, rendered and scored alike."""
        different = self.baseline and differences(self.candidate, self.baseline)
        return None if different else self.baseline

    @property
    def same_model(self) -> bool:
        """Whether candidate and baseline are the same bytes and gave the same answers (A/A).

        Every file must be known: a digest that only a scorecard states is anybody's word.
        """
        baseline = self.comparable_baseline
        files = self.candidate.checkpoint and self.candidate.checkpoint.manifest
        if not files or baseline is None or baseline.checkpoint is None:
            return False
        ours, dense = self.candidate.scorecard, baseline.scorecard
        return (
            files == baseline.checkpoint.manifest
            and digests.of_value(files) == ours.checkpoint_digest == dense.checkpoint_digest
            and ours.generations == dense.generations
        )


def differences(first: Evaluation, second: Evaluation) -> list[str]:
    """Name what makes two evaluations incomparable; empty if they can be compared.

    The suite digest covers prompts, sampling, scoring and scorers; the rendering digest covers the
    template and the text that the model saw. What computed the answers, in which dtype and
    versions, must be the same too: between float32 and bfloat16 alone, answers change. So must how
    another harness asked each task.
    """
    protocols = [
        {
            "suite_digest": evaluation.scorecard.suite_digest,
            "rendering_digest": evaluation.scorecard.rendering_digest,
            "scoring": evaluation.suite and evaluation.suite.scoring,
            **{name: evaluation.scorecard.engine.get(name) for name in ENGINE},
            "limit": evaluation.suite and evaluation.suite.limit,
            **evaluation.scorecard.protocol,
        }
        for evaluation in (first, second)
    ]
    names = dict.fromkeys(name for protocol in protocols for name in protocol)
    return [name for name in names if protocols[0].get(name) != protocols[1].get(name)]


def measured(evaluation: Evaluation) -> dict[str, float]:
    """Return dimension -> score of the dimensions that have one."""
    return {
        score.dimension: score.value
        for score in reversed(evaluation.scorecard.scores)
        if score.value is not None
    }


def points_lost(dense: float, candidate: float) -> float:
    """Return the drop in points, without the rounding error of binary fractions.

    66.4 - 61.4 is exactly 5, not slightly more:

    >>> points_lost(66.4, 61.4)
    5.0
    """
    return round(dense - candidate, 9)
