"""The order of items: each next one loses the drop on average, and it is the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from comptrust.trust import order
from tests.trust.test_sample import ACTS, ETHICS, of

SUITE = of("ethics", ETHICS)


def strata(asked: order.Order) -> list[frozenset[str]]:
    """Return the scenarios that ask each item, in order."""
    prompts = SUITE.by_dimension()["ethics"]
    return [frozenset(prompts[row].scenario for row in rows) for rows in asked.items]


def test_a_drawn_item_loses_the_drop_on_average() -> None:
    """Exactly: over strata by their weight, over a stratum's items alike."""
    asked, kinds = order.of(SUITE, "ethics"), np.array(strata(order.of(SUITE, "ethics")))
    rng = np.random.default_rng(0)
    losses = rng.integers(-1, 2, len(asked.shares)).astype(float)
    points = np.array([asked.shares[list(rows)].sum() for rows in asked.items])
    lost = np.array([(asked.shares * losses)[list(rows)].sum() for rows in asked.items])
    mean = sum(
        points[kinds == kind].sum() / 100 * (asked.scales * lost)[kinds == kind].mean()
        for kind in set(kinds)
    )
    assert mean == pytest.approx((asked.shares @ losses) / 100)


def test_strata_come_as_often_as_they_weigh() -> None:
    """Of 35% by 140 acts, 40% by 60 and 25% by 90, the 60 are used up first."""
    asked = order.of(SUITE, "ethics")
    kinds = strata(asked)
    three = frozenset({"zero_shot", "few_shot", "jailbreak/1"})
    assert 100 < asked.exact < 250
    assert kinds[: asked.exact].count(three) == 60
    assert kinds[: asked.exact].count(frozenset({"evasive/1"})) == pytest.approx(
        0.25 * asked.exact, abs=20
    )


def test_all_items_are_asked_whole_and_once() -> None:
    asked = order.of(SUITE, "ethics")
    assert sorted(row for rows in asked.items for row in rows) == list(range(len(SUITE.prompts)))
    assert asked.rows(len(asked.items)) == list(range(len(SUITE.prompts)))
    assert len(asked.items) == 290
    assert asked.rows(1) == sorted(asked.items[0])


def test_the_order_depends_on_the_seed_and_the_items_alone() -> None:
    asked = order.of(SUITE, "ethics")
    shuffled = SUITE.model_copy(update={"prompts": SUITE.prompts[::-1]})
    names = [prompt.id for prompt in SUITE.prompts]
    other = [prompt.id for prompt in shuffled.prompts]
    again = order.of(shuffled, "ethics")
    assert [{names[row] for row in rows} for rows in asked.items] == [
        {other[row] for row in rows} for rows in again.items
    ]
    assert order.of(SUITE, "ethics", seed=1).items != asked.items
    # Frozen: a plan that was sealed once has this order.
    assert [sorted(names[row] for row in rows)[0] for rows in asked.items[:4]] == FIRST


FIRST = ["few_shot#59", "few_shot#127", "few_shot#29", "few_shot#2"]


def test_items_that_are_not_scored_are_left_out() -> None:
    items = [f"item {n}" for n in range(20)]
    suite = of(
        "adv_demonstration",
        {"spurious/PP/entail-bias/0": items, "backdoor/setup1_badword_cacc/42": [*items, "other"]},
        option=["yes", "no"],
    )
    asked = order.of(suite, "adv_demonstration")
    assert len(asked.items) == 20
    assert {len(rows) for rows in asked.items} == {2}  # whole items


def test_a_single_stratum_is_exact_to_its_end() -> None:
    asked = order.of(of("ethics", {"zero_shot": ACTS}), "ethics")
    assert asked.exact == 200
    assert asked.scales == pytest.approx(2.0)
