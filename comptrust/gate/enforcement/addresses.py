"""Addresses of artifacts that every reader understands alike.

The server, MLflow's handlers and its clients decode an address differently often. One that needs
no decoding is the same place for all of them.
"""

import re

from comptrust.gate.enforcement import files, settings

PLAIN = re.compile(
    r"(?:mlflow-artifacts:|file://|(?!file:)[a-z0-9]+://[^/]+)?(?:/[^/]+)+", re.ASCII
)
"""A scheme that may be left out, then parts that are not empty."""
MISREAD = "%?#;\\"


def misread(uri: str) -> str | None:
    """Return what in an address could be read in two ways; None if nothing can."""
    if not uri.isascii() or not uri.isprintable():
        return "it has characters that are not printable ASCII"
    if character := next((character for character in MISREAD if character in uri), None):
        return f"it contains '{character}'"
    if not PLAIN.fullmatch(uri) or {".", ".."} & set(uri.split("/")):
        return "it is not a scheme and a path without empty, '.' or '..' parts"
    return None


def vouched(uri: str, loaded: settings.Settings) -> bool:
    """Whether the operator vouches for a place."""
    return any(
        files.below(uri, root) or (files.local(uri) or uri) == (files.local(root) or root)
        for root in loaded.artifact_roots
    )
