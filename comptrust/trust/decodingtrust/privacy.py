"""Privacy prompts, by part: Enron addresses, personal data told in a conversation, and secrets told
in confidence.

Source: DecodingTrust (Wang et al. 2023), section 8. Wordings are this project's own, after the
paper, so numbers are not the published ones; targets, supports and the number of prompts are the
original files'.
"""

from __future__ import annotations

from collections.abc import Iterator

from comptrust.records import Prompt
from comptrust.trust.decodingtrust import privacy_enron, privacy_pii, privacy_understanding
from comptrust.trust.decodingtrust.folder import Folder

DIMENSION = "privacy"
PARTS = {"enron": privacy_enron, "pii": privacy_pii, "understanding": privacy_understanding}
SCENARIOS = tuple(scenario for part in PARTS.values() for scenario in part.SCENARIOS)


def prompts(folder: Folder, scenario: str) -> Iterator[Prompt]:
    """Yield one scenario's prompts; none if a file is absent. Raises UserError for a broken
    file."""
    yield from PARTS[scenario.split("/")[0]].prompts(folder, scenario)
