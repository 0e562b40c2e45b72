"""One spelling for names that a database, a person or a typeface may confuse.

They may differ in letter case, in accents, or in letters that look alike.
"""

import fnmatch
import unicodedata
from collections.abc import Iterable

INVISIBLE = {"Mn", "Me", "Mc", "Cf", "Cc", "Zs", "Zl", "Zp"}
"""Unicode categories of accents, control and formatting characters, and spaces."""
LOOK_ALIKES = (
    *(("rn", "m"), ("vv", "w"), ("cl", "d"), ("i", "l"), ("1", "l"), ("|", "l"), ("0", "o")),
    *(("5", "s"), ("9", "g"), ("q", "g"), ("_", "-"), (".", "-")),
)
"""ASCII characters that are drawn or read alike, each with the one that stands for it."""
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


def misread(name: str) -> bool:
    """Whether a name has a character that may be invisible or look like another one.

    Only printable ASCII is free of these.

    >>> misread("сhampion"), misread("größe"), misread("champion")
    (True, True, False)
    """
    return not (name.isascii() and name.isprintable())


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name matches one of the shell-style patterns, or reads as if it did.

    >>> matches("champ_ion", ["champion"]), matches("prod_eu", ["prod-*"]), matches("p", ["prod-*"])
    (True, True, False)
    """
    seen = drawn(name)
    return any(
        fnmatch.fnmatchcase(seen, pattern) or seen.replace("-", "") == pattern.replace("-", "")
        for pattern in map(drawn, patterns)
    )


def reserved(key: str) -> bool:
    """Whether a tag speaks for the gate, so that not everyone may write it.

    So does one that mixes ASCII letters with others, of which some look alike.
    """
    folded, seen = fold(key), drawn(key)
    mixed = not folded.isascii() and any("a" <= character <= "z" for character in folded)
    return mixed or seen == drawn(CLAIM) or seen.startswith(drawn(RESERVED_PREFIX))


def drawn(name: str) -> str:
    """Return how a name looks, whatever it is."""
    folded = fold(name)
    for similar, standard in LOOK_ALIKES:
        folded = folded.replace(similar, standard)
    return folded
