"""Emergencies: someone with the role `release` promotes one version without a pass, for a while.

The signature names the model, version, target and every file. It ends by itself.
"""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from comptrust import config, digests
from comptrust.gate.signing import keys
from comptrust.gate.signing.roles import Role

NAME = "emergency.json"
PLACES: Mapping[str, tuple[str, str]] = {
    "staging": ("Staging", "challenger"),
    "production": ("Production", "champion"),
}
"""Target -> the stage and the alias that an emergency opens, and no other."""
MARK = "EMERGENCY"
LONGEST = datetime.timedelta(days=7)


class Emergency(keys.SignedRecord):
    """Who lets which bytes into which place without a passing verdict, why, and until when."""

    purpose: ClassVar[str] = "emergency/v1"
    role: ClassVar[Role] = "release"

    model: str
    version: str
    target: str
    """`staging` or `production`."""
    artifact: dict[str, str] = Field(min_length=1)
    """Path -> SHA-256 of every file of the registered version."""
    why: Annotated[keys.NotBlank, Field(max_length=1_000)]
    issued: AwareDatetime
    until: AwareDatetime

    @property
    def files(self) -> str:
        """Digest of the version's files, as the audit log records it."""
        return digests.of_value(self.artifact)


def problem(
    emergency: Emergency,
    *,
    trusted: keys.Trusted,
    model: str,
    version: str,
    place: str,
    now: datetime.datetime | None = None,
) -> str:
    """Return the first thing that keeps an emergency from opening a place; empty if nothing does.

    `place` is a stage or alias. Whether the files are the signed ones is checked apart.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    level = emergency.target if emergency.target in PLACES else None
    refusal = keys.refusal(emergency, trusted, model=model, level=level, today=now.date())
    checks = (
        (bool(refusal), f"{NAME} {refusal}."),
        (
            (emergency.model, emergency.version) != (model, version),
            f"{NAME} is for models:/{emergency.model}/{emergency.version}.",
        ),
        (place not in PLACES.get(emergency.target, ()), f"{NAME} is for {emergency.target}."),
        (
            emergency.until - emergency.issued > LONGEST,
            f"{NAME} is for more than {LONGEST.days} days.",
        ),
        (
            now + keys.SKEW < emergency.issued,
            f"{NAME} is not valid until {emergency.issued:%Y-%m-%d %H:%M:%S} UTC.",
        ),
        (
            now >= emergency.until,
            f"{NAME} ended at {emergency.until:%Y-%m-%d %H:%M} UTC.",
        ),
    )
    return next((text for wrong, text in checks if wrong), "")


def read(path: Path) -> Emergency:
    """Read an emergency. Raises UserError if the file is not one."""
    data = config.json_value(config.read_text(path), where=path.name)
    return config.parse(data, Emergency, where=path.name)


def notice(until: datetime.datetime, why: str) -> str:
    """Return the line that stands first wherever the version is shown.

    >>> notice(datetime.datetime(2027, 1, 2, 3, 4), "The filter lets everything through.")
    'EMERGENCY until 2027-01-02 03:04 UTC, without a passing verdict: The filter lets everything\
 through.'
    """
    said = " ".join(why.split())
    return f"{MARK} until {until:%Y-%m-%d %H:%M} UTC, without a passing verdict: {said}"
