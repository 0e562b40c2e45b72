"""The suite `mini`: prompts made for this project, easy enough for a model of 135M parameters.

It is not DecodingTrust, and its scores cannot be compared with published ones.
"""

import importlib
import pkgutil
from collections.abc import Sequence

from comptrust.errors import UserError
from comptrust.records import Prompt, Scoring, Suite
from comptrust.trust import build, mini
from comptrust.trust.dimensions import dimensions as all_dimensions

REVISION = "mini-3"


class Mini:
    """All nine dimensions with fewer scenarios and prompts, named as published (docs/mini.md)."""

    run_limit = 0.5
    """The other half is left for questions that were not chosen by the answers to the first."""
    run_policy = "demo"

    def load(
        self, argument: str | None, *, dimensions: Sequence[str] | None, scoring: Scoring
    ) -> Suite:
        """Build the suite, the same on every machine. Raises UserError for an argument."""
        if argument is not None:
            raise UserError(f"Suite mini takes no argument (got '{argument}'). Use 'mini'.")
        prompts: list[Prompt] = []
        required: dict[str, tuple[str, ...]] = {}
        held = {module.name for module in pkgutil.iter_modules(mini.__path__)}
        for name in dimensions or [name for name in all_dimensions() if name in held]:
            if name not in held:
                raise UserError(
                    f"Suite mini has no prompts for {name}. Leave it out of `dimensions`, or add"
                    f" {name}.py to its prompts."
                )
            built = importlib.import_module(f"{mini.__name__}.{name}").rows()
            prompts += build.prompts(name, built)
            required[name] = tuple(built)
        return Suite(
            name="mini",
            revision=REVISION,
            scoring=scoring,
            prompts=tuple(prompts),
            required=required,
        )
