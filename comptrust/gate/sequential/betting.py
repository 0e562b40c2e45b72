"""Betting: is a drop below or above a margin, with an answer that may be looked at at any time?

**The test.** Items are drawn so that the value x of each next one has, given all before it, the
mean D, the true drop (0-1; see `comptrust.trust.order`). Somebody who believes that D is less than
the margin m stakes a share b of her capital on each item and ends up with the product of
1 + b (m - x). If D is at least m, no such bet gains on average, so capital that starts at 1 is a
nonnegative supermartingale, and the probability that it ever reaches 1 / a is at most a (Ville
1939). So a dimension passes, with error a, as soon as its capital reaches 1 / a, whenever one
looks and however the next item was chosen (Waudby-Smith and Ramdas 2024, Estimating means of
bounded random variables by betting; Ramdas, Grunwald, Vovk and Shafer 2023, Game-theoretic
statistics and safe anytime-valid inference). A block is the same bet with the opposite sign.

**The stakes.** The best share depends on how many answers change, which nobody knows. So the
capital is split over four shares at the start and never moved again: the mean of such capitals is
one too (the method of mixtures: Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021). The
largest share is just below the one that a single lost item could ruin. Shares never depend on the
item that is about to be drawn, not even on its weight.

**Unequal items.** x is what the item lost in points, over the mean points of an item of its
stratum, and it bets against the margin's part of its own points: m w, where w is its weight.

**Gaps.** Fairness is a sum over settings of the largest of several weighted sums, its faces. D is
at least m only if it is so for some choice of a face in each setting, whose capital is then a
supermartingale. So the smallest capital over all choices has to reach 1 / a. With the same shares
for all choices, the smallest one is found setting by setting. An item with prompts in several
settings is split by its points there: ln(1 + b sum) is at least the weighted mean of the parts'
logarithms (concavity), so capital is never too large. To block, an item is bet on by the face that
leads before it; whatever face that is, its sum is at most D.

**Bounds.** All margins that the bets have not ruled out are an interval for D that holds at all
looks at once. Bets are sized for the margin of the decision, so that the interval reaches the
margin exactly when the dimension is decided; it is not narrowed beyond.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from comptrust.trust.contrast import Contrast
from comptrust.trust.order import Order

SHARES = (0.35, 0.5, 0.7, 0.95)
"""Of the largest stake that no item can ruin; equal parts of the capital go to each. They suit 0 to
10% of answers that change (benchmarks/sequential.py).
"""
STEPS = 14
"""Halvings of the interval in which a bound lies, which give it to less than 0.01 points."""


@dataclass(frozen=True)
class Stakes:
    """What each prompt of a dimension is worth to the bets, in the order in which it is asked.

    A piece is what one item has in one setting (or other block of sums); pieces are in the order of
    the items.
    """

    rows: np.ndarray
    """Shape (e,): the row of each prompt among the dimension's, grouped by piece."""
    values: np.ndarray
    """Shape (e, f): what losing that prompt adds to x, by face."""
    starts: np.ndarray
    """Shape (p,): where each piece begins among the prompts."""
    items: np.ndarray
    """Shape (p,): the number of each piece's item."""
    blocks: np.ndarray
    """Shape (p,): the number of each piece's setting."""
    parts: np.ndarray
    """Shape (p,): the share of its item that each piece is."""
    weights: np.ndarray
    """Shape (p,): the weight of each piece's item; the mean is 1."""
    reach: float
    """The largest |x| of any item."""
    ratios: tuple[float, float]
    """Smallest and largest weight of an item per largest |x| of it."""

    @classmethod
    def of(cls, order: Order, contrast: Contrast) -> "Stakes":
        """Return the stakes of a dimension, from the contrast of its prompts without answers."""
        points = contrast.by_face(contrast.coefficients.T)
        item = np.full(len(order.shares), -1)
        for number, members in enumerate(order.items[: order.exact]):
            item[list(members)] = number
        rows, blocks = np.nonzero((points != 0).any(axis=2) & (item >= 0)[:, None])
        names = item[rows] * points.shape[1] + blocks
        sort = np.argsort(names, kind="stable")
        rows, blocks = rows[sort], blocks[sort]
        _, starts = np.unique(names[sort], return_index=True)
        values = points[rows, blocks] * order.scales[item[rows], None]
        items = item[rows[starts]]

        widths = np.add.reduceat(np.abs(values), starts, axis=0).max(axis=1)
        reaches = np.bincount(items, widths, minlength=order.exact)
        held = [order.shares[list(members)].sum() for members in order.items[: order.exact]]
        weights = 100 / order.shares.sum() * order.scales[: order.exact] * held
        return cls(
            rows=rows,
            values=values,
            starts=starts,
            items=items,
            blocks=blocks[starts],
            parts=widths / reaches[items],
            weights=weights[items],
            reach=float(reaches.max()),
            ratios=(float((weights / reaches).min()), float((weights / reaches).max())),
        )

    @property
    def linear(self) -> bool:
        """Whether the drop is one weighted mean."""
        return bool(self.values.shape[1] == 1)

    def passing(self, losses: np.ndarray, margin: float, *, asked: int) -> np.ndarray:
        """Return the log of the capital that bets on a drop below the margin, after each item.

        `losses` has shape (..., n prompts); NaN counts as lost. `margin` is 0-1, and `asked` is the
        number of items. The shape is (..., k): k is `asked`, or less if the order is not exact up
        to there.
        """
        return self._passing(self._values(losses, asked, missing=1.0), margin, stake=margin)

    def blocking(self, losses: np.ndarray, margin: float, *, asked: int) -> np.ndarray:
        """Return the log of the capital that bets on a drop above it; NaN counts as won."""
        values = self._chosen(self._values(losses, asked, missing=-1.0))
        return self._blocking(values, margin, stake=margin)

    def upper(self, losses: np.ndarray, margin: float, *, asked: int, error: float) -> float:
        """Return the bound above which the drop is not, 0-1, if one looks at all times.

        `losses` has shape (n prompts,). It is not below the margin, for which the stakes are sized.
        """
        values = self._values(losses, asked, missing=1.0)
        return _ruled_out(
            lambda drop: self._passing(values, drop, stake=margin),
            start=1.0,
            end=margin,
            error=error,
        )

    def lower(self, losses: np.ndarray, margin: float, *, asked: int, error: float) -> float:
        """Return the bound below which the drop is not; it is not above the margin."""
        values = self._chosen(self._values(losses, asked, missing=-1.0))
        return _ruled_out(
            lambda drop: self._blocking(values, drop, stake=margin),
            start=-1.0,
            end=margin,
            error=error,
        )

    def _values(self, losses: np.ndarray, asked: int, *, missing: float) -> np.ndarray:
        """Return x of each piece of the items asked, by face, shape (..., p, f)."""
        pieces = int(np.searchsorted(self.items, asked))
        end = self.starts[pieces] if pieces < len(self.starts) else len(self.rows)
        worth, lost = self.values[:end], losses[..., self.rows[:end], None]
        values = np.where(np.isnan(lost), missing * np.abs(worth), lost * worth)
        return np.asarray(np.add.reduceat(values, self.starts[:pieces], axis=-2))

    def _passing(self, values: np.ndarray, margin: float, *, stake: float) -> np.ndarray:
        p = values.shape[-2]
        gains = margin * self.weights[:p, None] - values / self.parts[:p, None]
        return self._capital(gains, risk=self.reach * (1 - stake * self.ratios[0]))

    def _blocking(self, values: np.ndarray, margin: float, *, stake: float) -> np.ndarray:
        p = values.shape[-2]
        gains = values / self.parts[:p, None] - margin * self.weights[:p, None]
        return self._capital(gains, risk=self.reach * (1 + stake * self.ratios[1]))

    def _chosen(self, values: np.ndarray) -> np.ndarray:
        """Return x of each piece by the face that led before its item, shape (..., p, 1)."""
        if self.linear:
            return values
        items = self.items[: values.shape[-2]]
        sums = self._after(values, np.arange(items[-1] + 1))
        face = np.argmax(np.round(sums, 9), axis=-2)[..., items, self.blocks[: len(items)]]
        return np.take_along_axis(values, face[..., None], axis=-1)

    def _capital(self, gains: np.ndarray, *, risk: float) -> np.ndarray:
        p = gains.shape[-2]
        counts = np.arange(1, self.items[p - 1] + 2)
        total = np.array(-np.inf)
        for share in SHARES:
            growth = self.parts[:p, None] * np.log1p(share / risk * gains)
            worst = self._after(growth, counts).min(axis=-2).sum(axis=-1)
            total = np.logaddexp(total, worst - np.log(len(SHARES)))
        return np.asarray(total)

    def _after(self, pieces: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the sums of pieces (..., p, f) of the first items, shape (..., counts, f, blocks).

        `counts` says how many items those are.
        """
        p = pieces.shape[-2]
        sums = []
        for block in range(int(self.blocks.max()) + 1):
            own = np.flatnonzero(self.blocks[:p] == block)
            until = np.searchsorted(self.items[own], counts)
            total = np.cumsum(pieces[..., own, :], axis=-2)
            total = np.concatenate([np.zeros_like(pieces[..., :1, :]), total], axis=-2)
            sums.append(total[..., until, :])
        return np.stack(sums, axis=-1)


def _ruled_out(
    log_capital: Callable[[float], np.ndarray], *, start: float, end: float, error: float
) -> float:
    """Return the drop nearest to `end` from which on to `start` all are ruled out."""
    if certain(log_capital(end), error):
        return end
    for _ in range(STEPS):
        middle = (start + end) / 2
        if certain(log_capital(middle), error):
            start = middle
        else:
            end = middle
    return start


def certain(log_capital: np.ndarray, error: float) -> np.ndarray:
    """Return whether capital (..., k) has ever reached 1 / error, shape (...,).

    Rounded, so that no computer differs.
    """
    return np.asarray(np.round(log_capital.max(axis=-1) + np.log(error), 9) >= 0)
