"""The suite `decodingtrust:DIR`: the original prompts, from a folder in DecodingTrust's layout."""

from collections.abc import Sequence
from types import ModuleType

from comptrust import config
from comptrust.errors import UserError
from comptrust.records import Prompt, Scoring, Suite
from comptrust.trust import base, build
from comptrust.trust.decodingtrust import (
    adv_demonstration,
    adv_robustness,
    ethics,
    fairness,
    mmlu,
    ood,
    privacy,
    stereotype,
    toxicity,
)
from comptrust.trust.decodingtrust.folder import Folder

READERS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (toxicity, stereotype, adv_robustness, ood, adv_demonstration, privacy)
    + (ethics, fairness, mmlu)
}


class Decodingtrust:
    """All nine dimensions, answered with text; without its file a scenario is not measured."""

    def load(
        self, argument: str | None, *, dimensions: Sequence[str] | None, scoring: Scoring
    ) -> Suite:
        """Read a data folder. Raises UserError if the folder is missing or a file is broken."""
        if not argument:
            raise UserError(
                "Suite 'decodingtrust' needs its data folder: decodingtrust:DIR, where DIR holds"
                " toxicity/, stereotype/, ..."
            )
        folder = Folder(config.path_of(argument))
        chosen = dimensions or tuple(READERS)
        if unread := [name for name in chosen if name not in READERS]:
            raise UserError(
                f"Suite decodingtrust has no prompts for {', '.join(unread)}. Leave it out of"
                " `dimensions`."
            )
        prompts: list[Prompt] = []
        for name in chosen:
            rows = {scenario: READERS[name].rows(folder, scenario) for scenario in scenarios(name)}
            prompts += build.prompts(name, rows)
        if not folder.used:
            raise UserError(
                f"{folder.root} holds none of the files of {', '.join(chosen)}. Give"
                " DecodingTrust's data folder."
            )
        return Suite(
            name="decodingtrust",
            revision=folder.revision(),
            scoring=scoring,
            prompts=tuple(prompts),
            required={name: required(name) for name in chosen},
        )


def scenarios(dimension: str) -> tuple[str, ...]:
    """Return the published scenarios of a dimension in the order of the data."""
    return tuple(getattr(READERS[dimension], "SCENARIOS", base.get(dimension).required))


def required(dimension: str) -> tuple[str, ...]:
    """Return the scenarios that a dimension's published score needs, in the order of the data."""
    optional = base.get(dimension).optional
    return tuple(name for name in scenarios(dimension) if name not in optional)
