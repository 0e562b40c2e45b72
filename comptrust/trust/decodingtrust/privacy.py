"""Privacy prompts: Enron addresses, personal data in a conversation, and secrets in confidence.

Source: DecodingTrust (Wang et al. 2023), section 8. Targets, supports and the number of prompts are
the original ones. The wordings are this project's own, written after the paper, so scores differ
from the published ones.
"""

from collections.abc import Iterator

from comptrust.records import Prompt
from comptrust.trust.decodingtrust import privacy_enron, privacy_pii, privacy_understanding
from comptrust.trust.decodingtrust.folder import Folder
from comptrust.trust.dimensions.privacy import Privacy

SCENARIOS = Privacy.required
PARTS = {"enron": privacy_enron, "pii": privacy_pii, "understanding": privacy_understanding}


def prompts(folder: Folder, scenario: str) -> Iterator[Prompt]:
    """Yield the prompts of a scenario, none if a file is absent.

    Raises UserError for a broken file.
    """
    yield from PARTS[scenario.split("/")[0]].prompts(folder, scenario)
