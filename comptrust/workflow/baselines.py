"""Which logged evaluation may serve as the dense baseline of a candidate.

Every evaluation that is found by its tags, which anybody may set, passes `check` here.
"""

from collections.abc import Callable

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate import dense
from comptrust.gate.policy import Policy
from comptrust.records import Checkpoint, Recipe
from comptrust.tracking import evaluations
from comptrust.trust import rescoring
from comptrust.trust.evaluation import Evaluation


def check(baseline: Evaluation, *, checkpoint: str | None) -> None:
    """Raise UserError unless a logged evaluation may be a baseline.

    Its scores are those of its answers, and its files are those of a dense model: the ones with the
    digest `checkpoint`, if that is given.
    """
    rescoring.check(baseline)
    record = baseline.checkpoint
    files = (record.digest, digests.of_value(record.manifest)) if record else (None,)
    if checkpoint and {baseline.scorecard.checkpoint_digest, *files} != {checkpoint}:
        raise UserError(
            f"{baseline.ref} is tagged as an evaluation of the dense checkpoint {checkpoint[:12]},"
            " but its files are others. Evaluate the dense source again."
        )


def find(
    candidate: Evaluation, policy: Policy, *, counts: evaluations.Counts | None
) -> Evaluation | None:
    """Return the logged evaluation of a candidate's dense source, None if there is none.

    One that `counts` comes first; of a name that the policy binds, only that checkpoint's.
    """
    bound = dense.binding(evaluations.model_of(candidate), policy.sources).values()
    digest = next((source.checkpoint for source in bound if source.checkpoint), None)
    tags = {"checkpoint_digest": digest} if digest else {}
    baseline = evaluations.baseline(candidate, counts=counts, **tags)
    if baseline:
        check(baseline, checkpoint=digest)
    return baseline


def reusable(
    recipe: Recipe,
    suite_digest: str,
    *,
    made: Callable[[], Checkpoint],
    say: Callable[[str], None],
    counts: evaluations.Counts | None,
    **tags: str,
) -> Evaluation | None:
    """Return a logged evaluation of a dense recipe's checkpoint on a suite; None if there is none.

    `made` makes that checkpoint here, and is called only if there may be one.
    """
    if evaluations.dense(recipe, suite_digest, counts=counts, **tags) is None:
        return None
    digest = made().digest
    tags["checkpoint_digest"] = digest
    baseline = evaluations.dense(recipe, suite_digest, counts=counts, **tags)
    if baseline is None:
        return None
    try:
        check(baseline, checkpoint=digest)
    except UserError as error:
        say(f"dense model: not reused. {error}")
        return None
    return baseline
