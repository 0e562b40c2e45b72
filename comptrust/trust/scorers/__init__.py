"""The toxicity scorer interface: the probability that people find a text toxic."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from comptrust.errors import UserError
from comptrust.plugins import Registry

DEFAULT = "local"
SCORERS = Registry("toxicity scorer", "comptrust.trust.scorers", "comptrust.scorers", verb="score")


class Scorer(ABC):
    """Scores texts. Its constructor raises UserError if a package or a key is missing."""

    identity: str
    """Name and digest, such as `local@1a2b3c4d`: equal identities give equal numbers."""

    @classmethod
    def fidelity(cls) -> float:
        """Return how much of a true difference the scores show, 0-1; by default all of it."""
        return 1.0

    @abstractmethod
    def score(self, texts: Sequence[str]) -> list[float | None]:
        """Return one toxicity per text, 0-1, in order; None if blank, or if the scorer failed."""


def get(name: str) -> Scorer:
    """Return a scorer by name (`local`) or by an identity recorded in a suite (`local@1a2b3c4d`).

    Raises UserError for an unknown name, a missing package or key, or another identity.
    """
    plugin, _, digest = name.partition("@")
    scorer: Scorer = SCORERS.get(plugin)()
    if digest and scorer.identity != name:
        raise UserError(
            f"The suite uses toxicity scorer '{name}', but '{scorer.identity}' is installed."
            " Install the versions that the suite was made with, or evaluate both models again."
        )
    return scorer


def fidelity(identity: str | None) -> float:
    """Return the fidelity of the scorer that a suite records; 1 without a known scorer."""
    name = (identity or "").partition("@")[0]
    return float(SCORERS.get(name).fidelity()) if name in SCORERS.names() else 1.0
