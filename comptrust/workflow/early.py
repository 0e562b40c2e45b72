"""Ask a candidate and its dense source the same prompts until every dimension is decided."""

import time
from collections.abc import Sequence

from comptrust.gate import stopping
from comptrust.gate.policy import Policy
from comptrust.gate.sequential import follow
from comptrust.gate.sequential.course import Course
from comptrust.gate.sequential.plan import plan
from comptrust.progress import SECONDS_BETWEEN_LINES
from comptrust.records import Checkpoint, Generation, Prompt, Suite
from comptrust.text_tables import counted
from comptrust.trust import stopped
from comptrust.trust.run import Asking
from comptrust.workflow.side import Say


def ask(
    candidate: Asking, dense: Asking, suite: Suite, policy: Policy, *, record: Checkpoint, say: Say
) -> Suite:
    """Return the part of the suite that both were asked.

    The dense model is asked only what the candidate is asked. Raises UserError if the policy does
    not let such a model stop early; `record` is the candidate's.
    """
    fits = stopped.fitting(suite, dense.left_out)
    laid = plan(fits, stopping.margins(suite, policy, record.recipe, record))
    course, said = Course(laid, fits), time.monotonic()
    for side in (candidate, dense):
        side.expect(course.upcoming(fits))

    def answers(name: str, prompts: Sequence[Prompt]) -> tuple[list[Generation], list[Generation]]:
        nonlocal said
        ours, theirs = (side.ask(name, prompts, brief=True) for side in (candidate, dense))
        if time.monotonic() - said > SECONDS_BETWEEN_LINES:
            open_ = [one.dimension for one in course.decisions if one.outcome == "inconclusive"]
            total = sum(one.items for one in course.decisions)
            say(f"{counted(total, 'item')} asked; open: {', '.join(open_)}")
            said = time.monotonic()
        return ours, theirs

    asked = follow.follow(course, fits, answers, say=say)
    part = stopped.part(suite, follow.ended(course, asked, parent=suite, suite=fits))
    say(f"stopped after {len(part.prompts):,} of {len(suite.prompts):,} prompts: {course.reason}")
    return part
