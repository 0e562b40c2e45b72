"""Ask a candidate the search part, only until the sequential gate has decided it.

This says which candidate is judged, not whether it passes: that is up to the policy, on prompts
that were held back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from comptrust.gate import statistics
from comptrust.gate.policy import Policy
from comptrust.gate.rule import matching
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.gate.sequential import follow
from comptrust.gate.sequential.course import Course
from comptrust.gate.sequential.plan import StoppingPlan, plan
from comptrust.records import SEVERITY, TOO_LONG, Generation, Prompt, Suite
from comptrust.search.result import Binding
from comptrust.search.rules import Answers
from comptrust.trust import base, scoring, stopped
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.run import Asking


def margins(suite: Suite, policy: Policy) -> dict[str, float]:
    """Return the smallest margin of each dimension that a policy judges, in points.

    A rule for models of few bits counts for all: the search does not rely on an exemption.
    """
    smallest: dict[str, float] = {}
    for rule in policy.rules:
        if isinstance(rule, MaxDrop) and rule.applies_to != "pruned" and rule.bits_at_least is None:
            for name in matching(rule.dimensions, suite.by_dimension()):
                smallest[name] = min(smallest.get(name, 100.0), rule.points)
    return smallest


@dataclass(frozen=True)
class Comparison:
    """The search part, with the dense model's answers to all of it."""

    suite: Suite
    plan: StoppingPlan
    evaluation: Evaluation
    """The dense model's."""
    dense: Mapping[tuple[str, str], Generation]
    """(dimension, id) -> its answer."""

    @classmethod
    def of(cls, suite: Suite, dense: Evaluation, limits: Mapping[str, float]) -> "Comparison":
        """Plan the comparison; prompts beyond the context window are left out."""
        rows = [row for answers in dense.generations.values() for row in answers]
        beyond = {(row.dimension, row.id) for row in rows if row.withheld == TOO_LONG}
        fits = stopped.fitting(suite, beyond)
        return cls(fits, plan(fits, limits), dense, {(row.dimension, row.id): row for row in rows})

    def judge(
        self, asking: Asking, *, say: Callable[[str], None]
    ) -> tuple[Binding, Answers, Answers]:
        """Return what binds a candidate, its answers and the dense model's to the same prompts."""
        course = Course(self.plan, self.suite)
        asking.expect(course.upcoming(self.suite))
        ours: dict[str, Sequence[Generation]] = {}
        theirs: dict[str, Sequence[Generation]] = {}

        def answers(
            name: str, prompts: Sequence[Prompt]
        ) -> tuple[Sequence[Generation], Sequence[Generation]]:
            ours[name] = asking.ask(name, prompts, brief=True)
            theirs[name] = [self.dense[name, prompt.id] for prompt in prompts]
            return ours[name], theirs[name]

        follow.follow(course, self.suite, answers, say=say)
        found = [self._of(course, name, rows, theirs[name]) for name, rows in ours.items()]
        return max(found, key=_severity), ours, theirs

    def _of(
        self, course: Course, name: str, ours: Sequence[Generation], dense: Sequence[Generation]
    ) -> Binding:
        decision = course.decision(name)
        tables = (
            scoring.table(rows, dimension=name, scoring=self.suite.scoring)
            for rows in (ours, dense)
        )
        dimension = base.get(name, scoring=self.suite.scoring)
        lost = statistics.observed(*tables, dimension=dimension)
        _, lower, upper = decision.bounds[-1]
        return Binding(
            dimension=name,
            outcome=decision.outcome,
            margin=course.stretch(name).points,
            lost=None if lost != lost else lost,
            lower=lower,
            upper=upper,
        )


def _severity(one: Binding) -> tuple[int, float, float]:
    lost = one.upper if one.lost is None else one.lost
    return SEVERITY.index(one.outcome), one.upper - one.margin, lost - one.margin
