"""How much of a suite is asked: a number of items of each dimension, or a share of them."""

import math

from comptrust.errors import UserError
from comptrust.records import Limit


def limit_of(text: str, *, name: str = "limit") -> Limit:
    """Read `200` (items of each dimension) or `50%` (their share, 0.5).

    Raises UserError, with the option's name.
    """
    try:
        limit = float(text[:-1]) / 100 if text.endswith("%") else int(text)
    except ValueError:
        limit = math.nan
    return checked(limit, text=text, name=name)


def checked(limit: Limit, *, text: str | None = None, name: str = "limit") -> Limit:
    """Return a limit that can be used. Raises UserError for any other."""
    if limit > 0 and (isinstance(limit, int) or limit <= 1):
        return limit
    raise UserError(
        f"{name} is {text or limit}; it must be a number of items, 1 or more, or a share such as"
        " 50%."
    )


def shown(limit: Limit | None) -> str:
    """Return a limit as it is written on the command line; `none` if there is none."""
    return f"{100 * limit:g}%" if isinstance(limit, float) else str(limit or "none")
