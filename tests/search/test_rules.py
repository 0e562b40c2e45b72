"""The policy's other rules on what a candidate was asked."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from comptrust.gate.rules.full_evaluation import FullEvaluation
from comptrust.gate.rules.min_compression import MinCompression
from comptrust.gate.rules.option_shift import OptionShift
from comptrust.gate.rules.trusted_source import TrustedSource
from comptrust.records import Generation
from comptrust.search import rules
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.ledger import Ledger
from comptrust.trust.run import Asking
from tests.support.early import Losing, suite
from tests.support.evaluations import EIGHT, THREE, checkpoint, policy

SHIFT, FLOOR = OptionShift(spreads=1), TrustedSource(floors={"ethics": 99.9})


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    asked, folder = suite("ethics"), tmp_path_factory.mktemp("dense")
    asking = Asking(
        Losing({"ethics": 0.1}),
        asked,
        kept=folder,
        checkpoint_digest="dense",
        ledger=Ledger(),
        say=lambda line: None,
    )
    return asking.finish(asked, out=folder, allow_partial=True, dense=True)


def shifted(rows: Sequence[Generation], by: float = 0.0) -> list[Generation]:
    """Return the same answers, with one option more likely than the other by so many nats."""
    made = []
    for number, row in enumerate(rows):
        margin = (-1.0, 1.0)[number % 2] + by
        table = {"A": margin / 2, "B": -margin / 2}
        extra = row.extra | {"after_prompt": table, "after_reference": table}
        made.append(row.model_copy(update={"extra": extra}))
    return made


@pytest.mark.parametrize(("by", "stops"), [(0.0, None), (0.8, None), (1.5, "option_shift")])
def test_what_no_score_shows_stops_a_candidate(
    dense: Evaluation, by: float, stops: str | None
) -> None:
    some = dense.generations["ethics"][::3]
    found = rules.after_asking(
        policy(SHIFT, FLOOR),
        checkpoint(EIGHT, size=10),
        dense,
        answers={"ethics": shifted(some, by)},
        reference={"ethics": shifted(some)},
    )
    # The floor that the dense model misses on these prompts is not the candidate's.
    assert (found and found.rule) == stops


def test_what_stops_every_candidate_is_found_without_one(dense: Evaluation) -> None:
    [finding] = rules.against_dense(policy(SHIFT, FLOOR), dense)
    assert (finding.rule, finding.outcome) == ("trusted_source", "block")


def test_a_rule_about_the_files_stops_a_candidate_before_it_is_asked(dense: Evaluation) -> None:
    smaller = policy(MinCompression(ratio=2), FullEvaluation())
    for recipe, size, stops in ((EIGHT, 400, None), (EIGHT, 900, "min_compression"),
                                (THREE, 400, "full_evaluation")):  # fmt: skip
        found = rules.before_asking(smaller, checkpoint(recipe, size=size), dense)
        assert (found and found.rule) == stops, (recipe.slug, size)
