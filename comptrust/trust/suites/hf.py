"""The suite `hf:NAME`: DecodingTrust or MMLU from the Hugging Face hub, or from a folder of the
same form.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from comptrust.errors import UserError
from comptrust.records import Scoring, Suite
from comptrust.trust.decodingtrust.hub import Hub
from comptrust.trust.suites.decodingtrust import READERS, Decodingtrust


class Hf:
    """`hf:AI-Secure/DecodingTrust` holds eight dimensions, `hf:cais/mmlu` (any name that ends in
    mmlu) the ninth.
    """

    def load(
        self,
        argument: str | None,
        *,
        dimensions: Sequence[str] | None,
        scoring: Scoring,
        limit: int | None,
    ) -> Suite:
        """Load through `datasets`. Raises UserError for an unknown dataset, ServiceError if the hub
        is out of reach.
        """
        if not argument:
            raise UserError(
                "Suite 'hf' needs a dataset: --suite hf:AI-Secure/DecodingTrust or hf:cais/mmlu."
            )
        held = (
            ("mmlu",)
            if argument.lower().rstrip("/").endswith("mmlu")
            else tuple(name for name in READERS if name != "mmlu")
        )
        asked = tuple(dimensions or held)
        if not set(asked) & set(held):
            raise UserError(
                f"Dataset '{argument}' holds {', '.join(held)}; asked for {', '.join(asked)}."
            )
        with tempfile.TemporaryDirectory(prefix="comptrust-hf-") as folder:
            hub = Hub(argument, Path(folder))
            for name in held:
                if name in asked:
                    hub.write(name)
            if not any(Path(folder).iterdir()):
                raise UserError(
                    f"'{argument}' has none of the files of {', '.join(asked)}. Check the name or"
                    " folder after hf:."
                )
            suite = Decodingtrust().load(folder, dimensions=asked, scoring=scoring, limit=limit)
        return suite.model_copy(update={"name": "hf"})
