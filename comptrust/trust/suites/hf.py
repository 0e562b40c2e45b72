"""The suite `hf:NAME`: DecodingTrust or MMLU from the Hugging Face hub or a folder like it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from comptrust.errors import UserError
from comptrust.records import Scoring, Suite
from comptrust.trust.decodingtrust.hub import Hub
from comptrust.trust.suites.decodingtrust import READERS, Decodingtrust


class Hf:
    """`hf:AI-Secure/DecodingTrust` has eight dimensions, a name that ends in mmlu the ninth."""

    def load(
        self, argument: str | None, *, dimensions: Sequence[str] | None, scoring: Scoring
    ) -> Suite:
        """Load with `datasets`. Raises UserError or ServiceError if the dataset cannot be had."""
        if not argument:
            raise UserError(
                "Suite 'hf' needs a dataset, such as hf:AI-Secure/DecodingTrust or hf:cais/mmlu."
            )
        is_mmlu = argument.lower().rstrip("/").endswith("mmlu")
        available = [name for name in READERS if (name == "mmlu") == is_mmlu]
        chosen = tuple(dimensions or available)
        if not set(chosen) & set(available):
            raise UserError(
                f"Dataset '{argument}' has no prompts for {', '.join(chosen)}. It has"
                f" {', '.join(available)}."
            )
        with tempfile.TemporaryDirectory(prefix="comptrust-hf-") as folder:
            for name in sorted(set(chosen) & set(available), key=available.index):
                Hub(argument, Path(folder)).write(name)
            if not any(Path(folder).iterdir()):
                raise UserError(
                    f"'{argument}' has none of the files of {', '.join(chosen)}. Check the name or"
                    " folder after hf:."
                )
            suite = Decodingtrust().load(folder, dimensions=chosen, scoring=scoring)
        return suite.model_copy(update={"name": "hf"})
