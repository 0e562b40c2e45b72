"""One spelling for names that a database, a person or a typeface may confuse.

They may differ in letter case, in accents, or in letters that look alike.
"""

import fnmatch
import unicodedata
from collections.abc import Iterable

INVISIBLE = {"Mn", "Me", "Mc", "Cf", "Cc", "Zs", "Zl", "Zp"}
"""Unicode categories of accents, control and formatting characters, and spaces."""
UNLIKE_LATIN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")
"""Scripts without letters that look like Latin ones."""
RESERVED_PREFIX = "comptrust."
CLAIM = "verdict"
"""The tag that states the gate's verdict."""


def fold(name: str) -> str:
    """Return the one spelling of a name, without letter case, accents or invisible characters.

    >>> fold("ＣHÁMPION "), fold("Staging")
    ('champion', 'staging')
    """
    # Compatibility forms (full width, ligatures) first, then letters apart from their accents.
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    return "".join(
        character for character in text if unicodedata.category(character) not in INVISIBLE
    )


def looks_foreign(name: str) -> bool:
    """Whether a folded name has a character that may look like a Latin letter but is not one.

    >>> looks_foreign("сhampion"), looks_foreign("größe"), looks_foreign("冠军")
    (True, False, False)
    """
    return any(
        not character.isascii() and not unicodedata.name(character, "").startswith(UNLIKE_LATIN)
        for character in fold(name)
    )


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether the folded name matches one of the shell-style patterns, also folded."""
    folded = fold(name)
    return any(fnmatch.fnmatchcase(folded, fold(pattern)) for pattern in patterns)


def reserved(key: str) -> bool:
    """Whether a tag speaks for the gate, so that not everyone may write it."""
    folded = fold(key)
    return folded == CLAIM or folded.startswith(RESERVED_PREFIX)
