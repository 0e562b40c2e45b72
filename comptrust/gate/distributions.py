"""The distributions that the gate needs, without the import of a library that takes longer than
judging does.
"""

from __future__ import annotations

import math

import numpy as np


def normal_below(z: float) -> float:
    """Return the share of the standard normal distribution below z, as exact for a far tail."""
    return math.erfc(-z / math.sqrt(2)) / 2


def student_quantile(p: float, degrees: int) -> float:
    """Return Student's t that a share p of the distribution lies below, for whole degrees of
    freedom and 0.5 <= p < 1.

    With t = sqrt(degrees) tan(angle) the distribution is a finite sum of positive terms (Abramowitz
    and Stegun 1964, 26.7.3 and 26.7.4), which rises with the angle; the angle is found by
    bisection. Raises ValueError outside that range.
    """
    if degrees < 1 or not 0.5 <= p < 1:
        raise ValueError("student_quantile needs degrees >= 1 and 0.5 <= p < 1")
    odd = degrees % 2
    steps = np.arange(
        1 + odd, degrees - 1, 2
    )  # the coefficients' ratios: 1/2, 3/4, ... or 2/3, 4/5, ...
    coefficients = np.cumprod(np.concatenate([[1.0], steps / (steps + 1)]))
    powers = np.arange(len(coefficients)) * 2 + odd
    low, high = 0.0, math.pi / 2
    while low < (angle := (low + high) / 2) < high:
        within = (
            math.sin(angle) * float(coefficients @ math.cos(angle) ** powers)
            if degrees > 1
            else 0.0
        )
        if odd:
            within = (angle + within) * 2 / math.pi
        low, high = (angle, high) if within < 2 * p - 1 else (low, angle)
    return math.sqrt(degrees) * math.tan(low)


def heads_at_most(hits: int, throws: int) -> float:
    """Return the probability of at most `hits` heads in so many throws of a fair coin."""
    down = np.arange(hits, 0, -1)
    rest = np.cumprod(down / (throws - down + 1)).sum()  # each term over that of `hits`
    return float(math.comb(throws, hits) / 2**throws) * (1 + float(rest))
