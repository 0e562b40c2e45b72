"""Follow the course of a sequential evaluation: with a model's answers as they come, or again."""

from collections.abc import Callable, Mapping, Sequence

from comptrust.errors import UserError
from comptrust.gate.sequential.course import Course
from comptrust.gate.sequential.plan import plan
from comptrust.records import Generation, Prompt, Stopped, Suite
from comptrust.text_tables import counted
from comptrust.trust import base, order, scoring, stopped
from comptrust.trust.evaluation import Evaluation

Answers = Callable[[str, Sequence[Prompt]], tuple[Sequence[Generation], Sequence[Generation]]]
"""(dimension, prompts) -> the answers of the candidate and of the dense model, in that order."""


def follow(
    course: Course,
    suite: Suite,
    answers: Answers,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Ask what the course says until it stops, and return dimension -> items asked."""
    asked: dict[str, int] = {}
    by_dimension = suite.by_dimension()
    while batch := course.next():
        name, prompts = batch.dimension, by_dimension[batch.dimension]
        rows = course.order(name).rows(batch.stop)
        ours, dense = answers(name, [prompts[row] for row in rows])
        candidate, reference = (
            scoring.table(given, dimension=name, scoring=suite.scoring) for given in (ours, dense)
        )
        chance = [answer.extra.get("chance") for answer in dense]
        dimension = base.get(name, scoring=suite.scoring)
        silent = scoring.no_signal(dimension, reference, chance)
        course.tell(batch, candidate, reference, signal=not silent)
        asked[name] = batch.stop
        if (decision := course.decision(name)).decided_at:
            _, lower, upper = decision.bounds[-1]
            of = f"{batch.stop} of {counted(len(course.order(name).items), 'item')}"
            say(f"{name}: {decision.outcome} after {of}, drop {lower:.1f} to {upper:.1f} points")
    return asked


def replay(
    whole: Suite, margins: Mapping[str, float], candidate: Evaluation, dense: Evaluation
) -> Course:
    """Return the course that the answers of two stopped evaluations give, at its end.

    `margins` are those of the policy (dimension -> points). Raises UserError if the evaluations
    did not stop where it stops.
    """
    assert candidate.suite and candidate.suite.stopped
    ended = candidate.suite.stopped
    left_out = {(name, key) for name, keys in ended.left_out.items() for key in keys}
    suite = stopped.fitting(whole, left_out)
    laid = plan(suite, margins)
    if (laid.digest_of_fields(), laid.seed) != (ended.plan, ended.seed):
        raise UserError(
            "it stopped under another plan: other margins, costs, or another seed or version of"
            " the code"
        )
    given = [
        {(row.dimension, row.id): row for rows in one.generations.values() for row in rows}
        for one in (candidate, dense)
    ]

    def answers(name: str, prompts: Sequence[Prompt]) -> tuple[list[Generation], list[Generation]]:
        keys = [(name, prompt.id) for prompt in prompts]
        if missing := [key for key in keys if any(key not in rows for rows in given)]:
            raise UserError(
                f"it ended before the rule stops: the rule goes on with {name} prompt"
                f" '{missing[0][1]}'"
            )
        ours, theirs = ([rows[key] for key in keys] for rows in given)
        return ours, theirs

    course = Course(laid, suite)
    asked = follow(course, suite, answers)
    if more := [name for name, count in ended.items.items() if count != asked.get(name)]:
        name = more[0]
        raise UserError(
            f"it went on after the rule stopped: {ended.items[name]} items of {name}, where the"
            f" rule asks {asked.get(name, 0)}"
        )
    return course


def ended(course: Course, asked: Mapping[str, int], *, parent: Suite, suite: Suite) -> Stopped:
    """Return the record of where a course ended; `suite` is `parent` without what was left out."""
    fits = {(prompt.dimension, prompt.id) for prompt in suite.prompts}
    left_out: dict[str, list[str]] = {}
    for prompt in parent.prompts:
        if prompt.dimension in asked and (prompt.dimension, prompt.id) not in fits:
            left_out.setdefault(prompt.dimension, []).append(prompt.id)
    return Stopped(
        parent=parent.digest,
        seed=course.plan.seed,
        plan=course.plan.digest_of_fields(),
        items=dict(asked),
        of={name: len(order.of(suite, name).items) for name in parent.required},
        left_out={name: tuple(keys) for name, keys in left_out.items()},
    )
