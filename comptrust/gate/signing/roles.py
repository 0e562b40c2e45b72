"""What a trusted key may sign: its roles, models, levels and last day.

`roles.yaml` beside the public keys says it. Without that file every trusted key may sign verdicts
and waivers, but no emergency; with it, a key that it does not name may sign nothing.
"""

import datetime
import fnmatch
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime

from comptrust import config
from comptrust.errors import UserError
from comptrust.gate.signing.algorithms import PublicKey
from comptrust.records import Record

NAME = "roles.yaml"
Role = Literal["evaluate", "import", "gate", "waive", "release"]
USUAL: tuple[Role, ...] = ("evaluate", "import", "gate", "waive")
"""Roles of a key without roles.yaml; emergencies need a key that the file names for them."""


class Grant(Record):
    """What one key may sign."""

    roles: tuple[Role, ...] = ()
    """`evaluate`: measurements and seals; `import`: evaluations made elsewhere; `gate`: verdicts;
    `waive`: waivers; `release`: emergencies, for named keys only.
    """
    models: tuple[str, ...] = ("*",)
    """Patterns of the registered models whose verdicts and measurements it may sign."""
    levels: tuple[Literal["staging", "production"], ...] = ("staging", "production")
    """Stages that a verdict or a measurement of this key may open."""
    until: datetime.date | None = None
    """Last day (UTC) on which what it signed counts."""

    revoked: AwareDatetime | None = None
    """When the trust in it ended. Only what a log proves to be older may still count, and only
    under a policy that says `rollback: revoked`.
    """

    def __str__(self) -> str:
        until = f" until {self.until}" if self.until else ""
        what = ", ".join(self.roles) or "sign nothing"
        return f"{what}; models {', '.join(self.models)}; {' and '.join(self.levels)}{until}"


@dataclass(frozen=True)
class TrustedKey:
    """A public key and what it may sign."""

    public: PublicKey
    grant: Grant = Grant(roles=USUAL)  # noqa: RUF009 - records are frozen

    def refusal(
        self,
        role: Role,
        *,
        model: str | None = None,
        level: str | None = None,
        today: datetime.date | None = None,
    ) -> str:
        """Return why the key may not sign this, to follow `key ID`; empty if it may."""
        today = today or datetime.datetime.now(datetime.UTC).date()
        grant = self.grant
        if role not in grant.roles:
            return f"may not {role} here (roles in {NAME}: {', '.join(grant.roles) or 'none'})"
        if model is not None and not any(fnmatch.fnmatchcase(model, one) for one in grant.models):
            return f"may not sign for model {model} (models in {NAME}: {', '.join(grant.models)})"
        if level is not None and level not in grant.levels:
            return f"may not sign for {level} (levels in {NAME}: {', '.join(grant.levels)})"
        if grant.until and grant.until < today:
            return f"is trusted only until {grant.until} ({NAME})"
        return ""


def read(folder: Path) -> dict[str, Grant] | None:
    """Return key id -> grant, None if the folder has no roles.yaml.

    Raises UserError for a file that cannot be read or a field that is not one.
    """
    names, path = os.listdir(folder), folder / NAME
    for name in names:
        if re.fullmatch("roles?[.]ya?ml", name, re.IGNORECASE) and name != NAME:
            raise UserError(f"{folder / name} is not read under that name. Rename it to {NAME}.")
    if NAME not in names:  # a link that leads nowhere is a file that cannot be read
        return None
    data = config.read_yaml(path)
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold 'KEY ID: {{roles: [gate]}}' lines.")
    return {
        str(name): config.parse(grant, Grant, where=f"{path}, key {name}")
        for name, grant in data.items()
    }
