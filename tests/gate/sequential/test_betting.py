"""Bets: exactly fair at the margin, the worst case for what is missing, and true at every look."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from comptrust.gate.sequential.betting import SHARES, Stakes, certain
from comptrust.trust import base
from comptrust.trust.contrast import Contrast
from comptrust.trust.order import Order
from tests.support.tables import people

M = 0.05
LOSSES = (-1.0, 0.0, 1.0)


def order(items: list[tuple[int, ...]], shares: np.ndarray) -> Order:
    """Return an order of items of one stratum."""
    total = sum(shares[list(rows)].sum() for rows in items)
    return Order(
        items=tuple(items),
        shares=shares,
        scales=np.full(len(items), shares.sum() / 100 * len(items) / total),
        exact=len(items),
    )


def plain(items: list[tuple[int, ...]]) -> Stakes:
    """Return the stakes of a plain mean over all prompts."""
    n = 1 + max(row for rows in items for row in rows)
    shares = np.full(n, 100 / n)
    none = np.zeros((1, n), dtype=int)
    return Stakes.of(order(items, shares), Contrast(np.zeros(n), shares[None], none, shares))


SIX = plain([(n,) for n in range(6)])


def capital(stakes: Stakes, losses: np.ndarray, kind: str, margin: float = M) -> np.ndarray:
    """Return the capital after each item, with a batch per item."""
    items = int(stakes.items[-1]) + 1
    if kind == "passing":
        return np.exp(stakes.passing(losses, margin, asked=items))
    return np.exp(stakes.blocking(losses, margin, asked=items))


@pytest.mark.parametrize("kind", ["passing", "blocking"])
@pytest.mark.parametrize("changed", [0.0, 0.1, 0.9])
def test_capital_is_a_martingale_at_the_margin(kind: str, changed: float) -> None:
    """Exactly: over all 729 answers to six items, after each of them."""
    chances = np.array([changed / 2, 1 - changed - M, changed / 2 + M])
    answers = np.array(list(itertools.product(range(3), repeat=6)))
    each = chances[answers].prod(axis=1) @ capital(SIX, np.array(LOSSES)[answers], kind)
    assert each == pytest.approx(np.ones(6))


@pytest.mark.parametrize(("kind", "drop"), [("passing", 0.06), ("blocking", 0.04)])
def test_beyond_the_margin_capital_shrinks(kind: str, drop: float) -> None:
    chances = np.array([0.05, 0.9 - drop, 0.05 + drop])
    answers = np.array(list(itertools.product(range(3), repeat=6)))
    each = chances[answers].prod(axis=1) @ capital(SIX, np.array(LOSSES)[answers], kind)
    assert (np.diff(each, prepend=1) < 0).all()


def test_unequal_items_are_bet_on_alike_before_they_are_known() -> None:
    """Items of one prompt and of three, drawn at random: exactly fair although items differ."""
    small, large = 0.5, 1.5  # weights; the mean is 1
    items = [(0,), (1, 2, 3), (4,), (5, 6, 7)]
    orders = list(itertools.product((0, 1), repeat=4))
    total = np.zeros(4)
    for kinds in orders:
        rows, start = [], 0
        for kind in kinds:
            rows.append(tuple(range(start, start + (3 if kind else 1))))
            start = rows[-1][-1] + 1
        stakes = dataclasses.replace(
            plain(rows), weights=np.where(kinds, large, small), reach=large, ratios=(1.0, 1.0)
        )
        stakes = dataclasses.replace(stakes, values=np.full((start, 1), 0.5))
        # Only the large items lose: all three prompts, or none.
        for lost in itertools.product((0, 1), repeat=sum(kinds)):
            chance = 2 * M / large
            fate = iter(lost)
            losses = np.concatenate(
                [np.full(3, float(next(fate))) if kind else np.zeros(1) for kind in kinds]
            )
            weight = math.prod(chance if fall else 1 - chance for fall in lost) / len(orders)
            total += weight * capital(stakes, losses, "passing")
    assert len(items) == 4
    assert total == pytest.approx(np.ones(4))


def test_stakes_of_unequal_items() -> None:
    stakes = plain([(0,), (1, 2, 3)])
    assert stakes.weights.tolist() == [0.5, 1.5]
    assert (stakes.reach, stakes.ratios) == (1.5, (1.0, 1.0))
    growth = np.mean([(1 + s / 1.5 / 0.95 * 0.05 * 0.5) for s in SHARES])
    assert capital(stakes, np.zeros(4), "passing")[0] == pytest.approx(growth)


@pytest.mark.parametrize(("kind", "worst"), [("passing", 1.0), ("blocking", -1.0)])
def test_what_is_missing_counts_as_the_worst(kind: str, worst: float) -> None:
    losses = np.array([0.0, np.nan, 1.0, 0.0, -1.0, 0.0])
    assert capital(SIX, losses, kind) == pytest.approx(
        capital(SIX, np.nan_to_num(losses, nan=worst), kind)
    )


def test_a_lossless_model_needs_a_few_more_items_than_the_fixed_bound() -> None:
    stakes = plain([(n,) for n in range(120)])
    enough = capital(stakes, np.zeros(120), "passing") >= 1 / 0.04
    assert 62 < 1 + int(enough.argmax()) < 90


def test_after_the_exact_items_nothing_is_bet() -> None:
    shares = np.full(6, 100 / 6)
    cut = dataclasses.replace(order([(n,) for n in range(6)], shares), exact=3)
    contrast = Contrast(np.zeros(6), shares[None], np.zeros((1, 6), dtype=int), shares)
    assert Stakes.of(cut, contrast).passing(np.zeros(6), M, asked=6).shape == (3,)


def simulated(n: int, drop: float, *, runs: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chance = rng.random((runs, n))
    return (chance < drop + 0.025).astype(float) - (chance > 0.975)


@pytest.mark.parametrize("kind", ["passing", "blocking"])
def test_looking_after_every_item_errs_in_at_most_five_percent(kind: str) -> None:
    stakes = plain([(n,) for n in range(500)])
    ever = capital(stakes, simulated(500, M, runs=1000, seed=1), kind).max(axis=1) >= 20
    assert 0.005 < ever.mean() <= 0.05


def test_bounds_hold_at_all_looks_and_reach_the_margin_when_it_is_decided() -> None:
    stakes, looks = plain([(n,) for n in range(400)]), np.arange(20, 401, 20)
    wrong = 0
    for run, losses in enumerate(simulated(400, 0.0, runs=20, seed=2)):
        log = stakes.passing(losses, M, asked=400)
        uppers = [stakes.upper(losses, M, asked=look, error=0.04) for look in looks]
        assert (np.diff(uppers) <= 0).all(), run
        for look, upper in zip(looks, uppers, strict=True):
            assert (upper == M) == certain(log[:look], 0.04)
        lowers = [stakes.lower(losses, M, asked=n, error=0.05) for n in (20, 100, 200, 400)]
        assert (np.diff(lowers) >= 0).all()
        wrong += lowers[-1] > 0
    assert wrong <= 3
    lost = simulated(400, 0.3, runs=1, seed=3)[0]
    assert stakes.lower(lost, M, asked=400, error=0.05) == M


GAP = base.get("fairness")
DENSE = people(np.zeros(32), settings=4)


def gap_stakes(items: list[tuple[int, ...]]) -> Stakes:
    """Return the stakes of 32 people in four settings."""
    return Stakes.of(order(items, GAP.shares(DENSE)), GAP.contrast(DENSE, DENSE))


def every_choice(stakes: Stakes, losses: np.ndarray, items: list[tuple[int, ...]]) -> np.ndarray:
    """Return the smallest capital over all choices of a face per setting, by trying them all."""
    contrast = GAP.contrast(DENSE, DENSE)
    faces = contrast.by_face(contrast.coefficients.T)
    scale = GAP.shares(DENSE).sum() / 100 * len(items) / GAP.shares(DENSE).sum()
    risk = stakes.reach * (1 - M * stakes.ratios[0])
    smallest = np.full(len(items), np.inf)
    for choice in itertools.product(range(8), repeat=4):
        worth = faces[np.arange(32)[:, None], np.arange(4), choice].sum(axis=1) * losses * scale
        x = np.array([worth[list(rows)].sum() for rows in items])
        weights = np.array([stakes.weights[stakes.items == k][0] for k in range(len(items))])
        grown = [np.cumprod(1 + share / risk * (M * weights - x)) for share in SHARES]
        smallest = np.minimum(smallest, np.mean(grown, axis=0))
    return smallest


def test_gaps_pass_by_the_smallest_capital_over_all_directions() -> None:
    people_ = [(n,) for n in np.random.default_rng(0).permutation(32).tolist()]
    stakes = gap_stakes(people_)
    for seed in range(5):
        losses = np.random.default_rng(seed).integers(-1, 2, 32) * 1.0
        ours, least = capital(stakes, losses, "passing"), every_choice(stakes, losses, people_)
        assert (ours <= least * (1 + 1e-9)).all()
        # Each share takes its own worst choice, which differs little.
        assert (ours >= 0.5 * least).all()


def test_a_person_in_two_settings_is_never_worth_more_than_its_sum() -> None:
    pairs = [(n, n + 8) for n in range(8)] + [(n, n + 8) for n in range(16, 24)]
    stakes = gap_stakes(pairs)
    assert len(stakes.items) == 32
    for seed in range(5):
        losses = np.random.default_rng(seed).integers(-1, 2, 32) * 1.0
        ours = capital(stakes, losses, "passing")
        assert (ours <= every_choice(stakes, losses, pairs) * (1 + 1e-9)).all()


def test_a_gap_is_blocked_in_the_direction_that_led_before() -> None:
    """The face of an item depends on earlier items alone."""
    stakes = gap_stakes([(n,) for n in range(32)])
    losses = np.random.default_rng(1).integers(-1, 2, 32) * 1.0
    before = stakes.blocking(losses, M, asked=32)
    for first in (1, 8, 17, 31):
        changed = np.concatenate([losses[:first], -losses[first:]])
        assert stakes.blocking(changed, M, asked=32)[:first] == pytest.approx(before[:first])


def test_gaps_that_do_not_change_pass_and_gaps_that_open_do_not() -> None:
    rng = np.random.default_rng(0)
    many = people(np.zeros(2400), settings=300)
    many.scenario[:] = "zero_shot_br_0"
    shares = GAP.shares(many)
    stakes = Stakes.of(order([(n,) for n in range(2400)], shares), GAP.contrast(many, many))
    still = rng.choice([-1.0, 0.0, 1.0], size=2400, p=[0.01, 0.98, 0.01])
    assert certain(stakes.passing(still, M, asked=2400), 0.04)
    sign = 2 * many.values["sensitive"] - 1
    opened = np.where(rng.random(2400) < 0.075, sign, 0.0)
    assert not certain(stakes.passing(opened, M, asked=2400), 0.04)
    assert certain(stakes.blocking(opened, M, asked=2400), 0.05)
    assert not certain(stakes.blocking(still, M, asked=2400), 0.05)
