"""`mini`: prompts written and generated for this project, small enough for a 135M model; it is not
DecodingTrust.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

from comptrust import config
from comptrust.errors import UserError
from comptrust.records import Prompt, Scoring, Suite
from comptrust.trust import mini

REVISION = "mini-2"
OPTIONAL = ("_cacc",)
"""Ends of scenario groups that are reported but are no part of a score."""


class Mini:
    """All nine dimensions under the published scenario vocabulary, with fewer scenarios and prompts
    (docs/mini.md).
    """

    def load(
        self,
        argument: str | None,
        *,
        dimensions: Sequence[str] | None,
        scoring: Scoring,
        limit: int | None,
    ) -> Suite:
        """Build the suite; the same prompts on every machine. Raises UserError for an argument,
        which mini has none of.
        """
        if argument is not None:
            raise UserError(f"Suite mini takes no argument, got '{argument}'. Use --suite mini.")
        prompts: list[Prompt] = []
        required: dict[str, tuple[str, ...]] = {}
        held = {module.name for module in pkgutil.iter_modules(mini.__path__)}
        for name in dimensions or (name for name in config.DIMENSIONS if name in held):
            if name not in held:
                raise UserError(
                    f"Suite mini has no prompts of {name}. Leave it out of --dimensions, or add"
                    f" {name}.py to its prompts."
                )
            built = importlib.import_module(f"{mini.__name__}.{name}").prompts()
            scenarios = dict.fromkeys(prompt.scenario for prompt in built)
            required[name] = tuple(
                scenario
                for scenario in scenarios
                if not scenario.rpartition("/")[0].endswith(OPTIONAL)
            )
            prompts += built
        return Suite(
            name="mini",
            revision=REVISION,
            scoring=scoring,
            prompts=tuple(prompts),
            required=required,
            limit=limit,
        )
