"""What a toxicity scorer is: texts in, the probability that people find each toxic out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from comptrust.errors import UserError
from comptrust.plugins import Registry

DEFAULT = "local"
SCORERS = Registry("toxicity scorer", "comptrust.trust.scorers", "comptrust.scorers", verb="score")


class Scorer(ABC):
    """Scores the toxicity of texts. Building one raises UserError if its package or key is
    missing."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Name the scorer and what it depends on, such as `local@1a2b3c4d`; equal identities give
        equal numbers.
        """

    @abstractmethod
    def score(self, texts: Sequence[str]) -> list[float | None]:
        """Return one toxicity per text, 0-1, in order.

        None = not measured: the text is blank or the scorer failed on it. Never 0 in its place.
        """


def get(name: str) -> Scorer:
    """Return a scorer by name (`local`) or by an identity that a suite recorded (`local@1a2b3c4d`).

    Raises UserError for an unknown name, a missing package or key, or when the scorer at hand is
    not the one of that identity.
    """
    plugin, _, digest = name.partition("@")
    scorer: Scorer = SCORERS.get(plugin)()
    if digest and scorer.identity != name:
        raise UserError(
            f"The suite was set up with toxicity scorer '{name}', but this installation has"
            f" '{scorer.identity}'. Use the versions it was made with, or evaluate both models"
            " again."
        )
    return scorer
