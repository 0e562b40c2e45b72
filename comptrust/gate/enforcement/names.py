"""One spelling for names that a database, a person or a typeface may take for the same: letter
case, accents, lookalikes.
"""

from __future__ import annotations

import fnmatch
import unicodedata
from collections.abc import Iterable

INVISIBLE = {"Mn", "Me", "Mc", "Cf", "Cc", "Zs", "Zl", "Zp"}
"""Unicode categories of accents, control and formatting characters, and spaces."""
UNLIKE_LATIN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")
"""Scripts of which no letter looks like a Latin one."""
RESERVED_PREFIX = "comptrust."
CLAIM = "verdict"
"""The tag that says what the gate found."""


def fold(name: str) -> str:
    """Return the one spelling of a name: compatibility forms resolved, no letter case, no accent,
    nothing invisible.

    >>> fold("ＣHÁMPION "), fold("Staging")
    ('champion', 'staging')
    """
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    return "".join(
        character for character in text if unicodedata.category(character) not in INVISIBLE
    )


def looks_foreign(name: str) -> bool:
    """Whether a folded name still has a character that can look like a Latin letter without being
    one.

    >>> looks_foreign("сhampion"), looks_foreign("größe"), looks_foreign("冠军")
    (True, False, False)
    """
    return any(
        not one.isascii() and not unicodedata.name(one, "").startswith(UNLIKE_LATIN)
        for one in fold(name)
    )


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether the folded name matches one of the shell-style patterns, folded too."""
    folded = fold(name)
    return any(fnmatch.fnmatchcase(folded, fold(pattern)) for pattern in patterns)


def reserved(key: str) -> bool:
    """Whether a tag speaks for the gate, so that not everybody may write it."""
    folded = fold(key)
    return folded == CLAIM or folded.startswith(RESERVED_PREFIX)
