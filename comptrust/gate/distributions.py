"""The probability distributions that the gate needs.

Importing SciPy would take longer than judging does.
"""

import math

import numpy as np


def normal_below(z: float) -> float:
    """Return the share of the standard normal distribution below z, exact far into the tail."""
    return math.erfc(-z / math.sqrt(2)) / 2


def student_quantile(p: float, degrees: int) -> float:
    """Return the quantile of Student's t for whole degrees of freedom and 0.5 <= p < 1.

    With t = sqrt(degrees) tan(angle), the distribution is a finite sum of positive terms that grows
    with the angle (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4); bisection finds the angle.
    Raises ValueError outside that range.
    """
    if degrees < 1 or not 0.5 <= p < 1:
        raise ValueError("student_quantile needs degrees >= 1 and 0.5 <= p < 1")
    odd = degrees % 2
    # Each coefficient is the one before times 1/2, 3/4, ... (even) or 2/3, 4/5, ... (odd).
    steps = np.arange(1 + odd, degrees - 1, 2)
    coefficients = np.cumprod(np.concatenate([[1.0], steps / (steps + 1)]))
    powers = np.arange(len(coefficients)) * 2 + odd
    low, high = 0.0, math.pi / 2
    # Bisect until no float lies between the two ends.
    while low < (angle := (low + high) / 2) < high:
        within = 0.0
        if degrees > 1:
            within = math.sin(angle) * float(coefficients @ math.cos(angle) ** powers)
        if odd:
            within = (angle + within) * 2 / math.pi
        low, high = (angle, high) if within < 2 * p - 1 else (low, angle)
    return math.sqrt(degrees) * math.tan(low)


def heads_at_most(hits: int, throws: int) -> float:
    """Return the probability of at most `hits` heads in `throws` throws of a fair coin."""
    down = np.arange(hits, 0, -1)
    # Each term of the sum, relative to the largest one, that of `hits`.
    rest = np.cumprod(down / (throws - down + 1)).sum()
    return float(math.comb(throws, hits) / 2**throws) * (1 + float(rest))
