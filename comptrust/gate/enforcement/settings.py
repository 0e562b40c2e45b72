"""The guard's settings, all from the server's environment.

They are the trusted keys, the policies, the guarded names and the audit log.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from comptrust.errors import UserError
from comptrust.gate import policy as policies
from comptrust.gate.enforcement import names
from comptrust.gate.policy import Policy

Level = Literal["staging", "production"]
LEVELS: tuple[Level, Level] = ("staging", "production")
STAGES: Mapping[str, Level] = {"Staging": "staging", "Production": "production"}
ALIASES: tuple[tuple[str, Level], ...] = (
    ("challenger", "staging"),
    ("champion", "production"),
    ("staging", "staging"),
    ("production", "production"),
)

KEYS = "COMPTRUST_TRUSTED_KEYS"
AUDIT_LOG = "COMPTRUST_AUDIT_LOG"
EVIDENCE = "COMPTRUST_EVIDENCE"
GUARD = "COMPTRUST_GUARD"
GUARD_ALIASES = "COMPTRUST_GUARD_ALIASES"
ARTIFACT_ROOTS = "COMPTRUST_ARTIFACT_ROOTS"
POLICY: Mapping[Level, str] = {
    "staging": "COMPTRUST_POLICY_STAGING",
    "production": "COMPTRUST_POLICY_PRODUCTION",
}

SCHEME = "comptrust+"


@dataclass(frozen=True)
class Settings:
    """The guard's settings, read once when the store is opened.

    The keys folder is read again for each decision.
    """

    database: str
    """Plain URI of the registry's database, without `comptrust+`."""
    models: tuple[str, ...]
    """Patterns of guarded registered models."""
    aliases: tuple[tuple[str, Level], ...]
    """Patterns of guarded aliases, each with the policy it needs."""
    trusted_keys: Path | None = None
    """Folder of public keys, which may be filled later; None: no key is trusted."""
    policies: Mapping[Level, Policy] = field(default_factory=dict)
    artifact_roots: tuple[str, ...] = ()
    """Places outside the server's artifact folder that, the operator vouches, only it can write."""
    audit_log: Path | None = None
    """None if there is no place for it; then nothing guarded is allowed."""
    evidence: Path | None = None
    """Where the evidence of each promotion is kept; None without a log."""

    def guards(self, model: str) -> bool:
        """Whether a registered model is guarded; so is one whose name may be misread."""
        return names.misread(model) or names.matches(model, self.models)

    def of_alias(self, alias: str) -> Level | None:
        """Return the policy that an alias needs, or None if it is not guarded.

        The strictest match counts. A name that may be misread needs the strictest policy.
        """
        levels = {level for pattern, level in self.aliases if names.matches(alias, [pattern])}
        if "production" in levels or names.misread(alias):
            return "production"
        return "staging" if levels else None


def load(store_uri: str, *, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings for a registry URI. Raises UserError for an invalid policy or level."""
    database = store_uri.removeprefix(SCHEME)
    keys = environment.get(KEYS)
    required = {level: policies.load(environment.get(POLICY[level]) or level) for level in LEVELS}
    for level, policy in required.items():
        policies.require_stages(policy, target=f"the level {level} of a guarded server")
    log = audit_log(database, environment=environment)
    return Settings(
        database=database,
        trusted_keys=Path(keys) if keys else None,
        policies=required,
        models=_listed(environment, GUARD) or ("*",),
        aliases=(*ALIASES, *map(_alias, _listed(environment, GUARD_ALIASES))),
        artifact_roots=_listed(environment, ARTIFACT_ROOTS),
        audit_log=log,
        evidence=evidence_of(log, environment=environment) if log else None,
    )


def audit_log(database: str, *, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return where a database's decisions are logged; None if no place is known.

    COMPTRUST_AUDIT_LOG names it; otherwise it is beside a sqlite file.
    """
    if given := environment.get(AUDIT_LOG):
        return Path(given).absolute()
    path = database.removeprefix("sqlite:///").partition("?")[0]
    if not database.startswith("sqlite:///") or not path or path == ":memory:":
        return None
    return Path(f"{path}.audit.jsonl").absolute()


def evidence_of(log: Path, *, environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the evidence of a log's grants is kept: COMPTRUST_EVIDENCE, or beside it."""
    given = environment.get(EVIDENCE)
    return Path(given).absolute() if given else log.with_name(f"{log.name}.evidence")


def _listed(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in environment.get(variable, "").split(",") if part.strip())


def _alias(text: str) -> tuple[str, Level]:
    pattern, equals, level = (part.strip() for part in text.partition("="))
    if not pattern or not equals or level not in LEVELS:
        raise UserError(f"Guarded alias '{text}' must be PATTERN=staging or PATTERN=production.")
    return pattern, level
