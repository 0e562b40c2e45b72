"""Positive control: plant known damage in a dense model's answers and see whether it is noticed.

Without it a pass may only mean that nothing can be seen: a suite whose answers a parser cannot
read, or a model with nothing to lose, passes every candidate.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from comptrust.errors import UserError
from comptrust.gate import resampling, statistics
from comptrust.gate.evidence import Evidence, measured
from comptrust.gate.policy import Policy
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.records import Generation
from comptrust.trust import base, scoring
from comptrust.trust.control import Control, Planted, Ruined
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.stored import ANSWERED

SEEDS = 200
BEYOND = 5.0
"""Points by which a planted drop is larger than the margin, on average."""
RESAMPLES = 1000
"""Draws of each bound; the gate itself makes 10,000."""
MARGINS = (3.0, 5.0)
"""Those of the shipped policies; a policy's own ones are added."""
CONSTANT, FEW_BITS = "constant answers", "2-bit weights"
WORSE = ("pass", "inconclusive", "block")


def make(dense: Evaluation, policy: Policy) -> Control:
    """Plant damage in the answers of a dense evaluation; no model is needed.

    Floors and 2-bit weights of an earlier control of it are kept. Raises UserError for a compressed
    model or an evaluation without answers.
    """
    if dense.recipe and dense.recipe.method != "none":
        raise UserError(
            f"{dense.ref} is compressed ({dense.recipe.slug}). Damage is planted in its dense"
            " source; name that one."
        )
    if not dense.generations:
        raise UserError(
            f"{dense.ref} has no answers in which damage could be planted. Evaluate the model, or"
            " name the folder that holds generations/."
        )
    rules = [rule for rule in policy.rules if isinstance(rule, MaxDrop)]
    margins = sorted({*MARGINS, *(rule.points for rule in rules)})
    names = [name for name in dense.generations if name in measured(dense)]
    earlier = dense.control
    others = [row for row in earlier.ruined if row.kind != CONSTANT] if earlier else []
    return Control(
        scorecard_digest=dense.scorecard.digest_of_fields(),
        seeds=SEEDS,
        beyond=BEYOND,
        planted=tuple(plant(dense, name, points) for points in margins for name in names),
        ruined=(noticed(dense, constant(dense), policy, kind=CONSTANT), *others),
        floors=earlier.floors if earlier else {},
    )


def plant(dense: Evaluation, name: str, points: float) -> Planted:
    """Return how often `max_drop` does not let a planted drop of `points` + 5 points pass.

    Each item turns as bad as it can, in all of its scenarios, with the probability that gives such
    a drop on average.
    """
    dimension = base.get(name, scoring=dense.scoring)
    table = dense.table(name)
    assert table is not None
    try:
        harm, unchanged = dimension.harm(table), dimension.contrast(table, table)
    except UserError as error:  # a plug-in that does not say what a prompt earns
        return Planted(dimension=name, points=points, noticed=0.0, why=str(error))
    fidelity = dense.fidelity(name)
    damage = (points + BEYOND) * fidelity
    left = dataclasses.replace(unchanged, losses=harm).estimate
    why = None
    if dense.suite and name in dense.suite.scorers and len(table.ids) > len(np.unique(harm)) == 1:
        why = "every answer has the same value, as if the scorer returned a constant"
    elif left < damage:
        why = f"it cannot lose {damage:.1f} points; {left:.1f} are left"
    if why:
        return Planted(dimension=name, points=points, noticed=0.0, why=why)
    numbers, count = resampling.clusters(table)
    noticed = 0
    for seed in range(SEEDS):
        fallen = np.random.default_rng(seed).random(count)[numbers] < damage / left
        planted = dataclasses.replace(unchanged, losses=unchanged.losses + fallen * harm)
        # Above the margin no bound can be below it.
        noticed += planted.estimate >= points or points <= statistics.revealed(
            statistics.interval(planted, table, seed=seed, resamples=RESAMPLES).upper, fidelity
        )
    return Planted(dimension=name, points=points, noticed=noticed / SEEDS)


def constant(dense: Evaluation) -> dict[str, list[Generation]]:
    """Return what a model says that gives one answer: in each scenario the most frequent one."""
    return {
        name: list(_collapsed(answers)) for name, answers in dense.generations.items() if answers
    }


def _collapsed(answers: Sequence[Generation]) -> Iterable[Generation]:
    counts: dict[str, Counter[tuple[str, ...]]] = {}
    for answer in answers:
        counts.setdefault(answer.scenario, Counter())[answer.texts] += 1
    common = {name: counter.most_common(1)[0][0] for name, counter in counts.items()}
    examples = {
        answer.scenario: answer for answer in answers if answer.texts == common[answer.scenario]
    }
    for answer in answers:
        example = examples[answer.scenario]
        asked = {key: value for key, value in answer.extra.items() if key not in ANSWERED}
        given = {key: value for key, value in example.extra.items() if key in ANSWERED}
        # All that belongs to the prompt stays, all that belongs to its answer is the example's.
        prompt = {"id": answer.id, "target": answer.target, "extra": asked | given}
        yield example.model_copy(update=prompt)


def noticed(
    dense: Evaluation,
    ruined: Mapping[str, list[Generation]],
    policy: Policy,
    *,
    kind: str,
) -> Ruined:
    """Return which rules of the policy notice a ruined model's answers, for each dimension.

    A rule notices them if it judges them worse than a copy that answers as the dense model does.
    What a rule finds without looking at answers, such as a missing checkpoint, does not count.
    """
    found = {}
    for name in dense.generations:
        if name in ruined and name in measured(dense):
            alone, copy, other = (
                _alone(dense, name, rows, digest)
                for rows, digest in (
                    (dense.generations[name], dense.scorecard.checkpoint_digest),
                    (dense.generations[name], "copy"),
                    (ruined[name], "ruined"),
                )
            )
            outcomes = [
                [rule.check(Evidence(candidate, alone)).outcome for rule in policy.rules]
                for candidate in (copy, other)
            ]
            found[name] = tuple(
                dict.fromkeys(
                    rule.name
                    for rule, same, worse in zip(policy.rules, *outcomes, strict=True)
                    if WORSE.index(worse) > WORSE.index(same)
                )
            )
    return Ruined(kind=kind, policy=policy.name, noticed_by=found)


def _alone(dense: Evaluation, name: str, rows: list[Generation], digest: str) -> Evaluation:
    """Return an evaluation of one dimension with other answers, scored again."""
    scores = scoring.score(rows, suite=dense.suite, dimensions=[name], scoring=dense.scoring)
    card = dense.scorecard.model_copy(update={"scores": scores, "checkpoint_digest": digest})
    return dataclasses.replace(dense, scorecard=card, generations={name: rows})
