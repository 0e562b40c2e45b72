"""Which extra of comptrust brings a package that is not installed."""

import re
from importlib.metadata import PackageNotFoundError, requires

from comptrust.errors import UserError

DISTRIBUTIONS = {"profanity_check": "alt-profanity-check", "sklearn": "scikit-learn"}
"""Modules that are not named like the package that brings them."""
REQUIREMENT = re.compile(r'([\w.-]+)[^;]*;.*\bextra == "([\w-]+)"')
COLLECTIONS = ("all", "test", "docs")
"""Extras that no error should recommend: they bring more than what is missing."""


def missing(error: ModuleNotFoundError) -> UserError | None:
    """Return the error for a module that one of our extras brings, with the pip command.

    None for every other module: then it is not an extra that is missing.
    """
    module = (error.name or "").partition(".")[0]
    package = DISTRIBUTIONS.get(module, module).replace("_", "-")
    for line in _requirements():
        match = REQUIREMENT.match(line)
        if match and match[1].replace("_", "-") == package and match[2] not in COLLECTIONS:
            return UserError(
                f"This needs the package '{package}', which is not installed."
                f" Install it: pip install 'comptrust[{match[2]}]'"
            )
    return None


def _requirements() -> list[str]:
    try:
        return requires("comptrust") or []
    except PackageNotFoundError:  # a checkout that is not installed
        return []
