"""Policies: a YAML file that names rules and sets their parameters, read strictly and digested."""

import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from comptrust import config, digests
from comptrust.errors import UserError, unknown
from comptrust.gate import earlier
from comptrust.gate.dense import DenseSource
from comptrust.gate.pins import PinnedSuite
from comptrust.gate.rule import Rule
from comptrust.gate.signing.waivers import Waiver
from comptrust.plugins import Registry
from comptrust.trust import suite as suites
from comptrust.trust.dimensions import REGISTRY as DIMENSIONS

FOLDER = config.SHIPPED / "policies"
DEFAULT = "staging"
Dense = Literal["proven", "native", "declared", "allowed"]
Rollback = Literal["allowed", "forbidden", "revoked"]
RULES = Registry("rule", "comptrust.gate.rules", "comptrust.rules", verb="check")


@dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Policy:
    """The rules that a candidate must pass, all of them, and what else a policy file says."""

    name: str
    rules: tuple[Rule, ...]
    description: str = ""
    waivers: tuple[Waiver, ...] = ()
    """Only signed ones count; `comptrust waive` writes them."""
    valid_days: int = Field(default=90, ge=1, le=3650)
    """Days that a signed verdict under this policy is valid."""
    dense: Dense = "proven"
    """What the baseline needs. `proven`: a checkpoint record or weights that show 16 bits or more.

    `native`: quantized weights count too, for models that were trained so. `declared`: the user's
    word, for published answers without weights. `allowed`: as `proven`, and the candidate may be a
    dense model (method `none`), judged as its own source.
    """
    evidence: Literal["measured", "sequential", "imported"] = "measured"
    """Which evaluations count. `sequential`: also those that stopped when every dimension was
    decided. `imported`, where keys are trusted: also those made elsewhere, if a key with the role
    `import` signed them.
    """
    sealed: Literal["optional", "required"] = "optional"
    """Whether the bar must have been signed before the first answer (`comptrust seal`)."""
    stages: bool = True
    """Whether a pass may move a version to a stage. If not, it moves the alias `demo` alone."""
    rollback: Rollback = "allowed"
    """Whether a former champion may come back although its signature has expired since.

    `revoked`: also if its key was revoked since, with `keys revoke`.
    """
    tolerate_until: datetime.date | None = None
    """Last day on which audits only note what was promoted before this policy."""
    exclude: tuple[str, ...] = ()
    """Scenarios (`mmlu/anatomy`) that are not judged if no prompt of them fits the dense model's
    context window.
    """
    suites: tuple[PinnedSuite, ...] = ()
    """The suites that count. Without one, a policy that guards a stage passes nothing."""
    sources: dict[str, DenseSource] = Field(default_factory=dict)
    """Pattern of registered names -> the dense source that their versions are made from."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the name, every rule with every parameter, the waivers, `valid_days` and
        `exclude`.

        Defaults are included, so a new default gives a new digest. `dense`, `stages`, `suites`,
        `sources`, `evidence`, `sealed`, `rollback` and `tolerate_until` came later and are left out
        where they are the default. Where a suite's data lies is not part of it.
        """
        return digests.of_value(self.fields)

    @cached_property
    def digests(self) -> tuple[str, str]:
        """The digest, and the one that earlier versions gave the policy."""
        return digests.forms(self.fields)

    @property
    def fields(self) -> dict[str, Any]:
        """What `digest` is about."""
        suites = [pin.model_dump(mode="json", exclude={"source"}) for pin in self.suites]
        sources = {name: source.model_dump(mode="json") for name, source in self.sources.items()}
        return {
            **({} if self.dense == "proven" else {"dense": self.dense}),
            **({} if self.stages else {"stages": False}),
            **({} if self.rollback == "allowed" else {"rollback": self.rollback}),
            **({"tolerate_until": f"{day}"} if (day := self.tolerate_until) else {}),
            **({} if self.evidence == "measured" else {"evidence": self.evidence}),
            **({} if self.sealed == "optional" else {"sealed": self.sealed}),
            "name": self.name,
            "rules": [{"rule": rule.name, **rule.model_dump(mode="json")} for rule in self.rules],
            "waivers": [waiver.model_dump(mode="json") for waiver in self.waivers],
            "valid_days": self.valid_days,
            **({"exclude": self.exclude} if self.exclude else {}),
            **({"suites": suites} if suites else {}),
            **({"sources": sources} if sources else {}),
        }


def names() -> tuple[str, ...]:
    """List the shipped policies."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def waivable() -> tuple[str, ...]:
    """List the findings that a named human may accept."""
    return (*(name for name in RULES.names() if RULES.get(name).waivable), earlier.RULE)


def load(name_or_path: str) -> Policy:
    """Read a shipped policy by name, or a YAML file by path.

    Raises UserError for an unknown name, an unreadable file, a file without rules, an unknown rule
    (with the nearest name), or an unknown or invalid parameter.
    """
    path = Path(name_or_path)
    if name_or_path in names():
        path = FOLDER / f"{name_or_path}.yaml"
    elif not path.is_file():
        if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
            raise UserError(
                f"No policy file '{name_or_path}'. Give the path of a YAML file or one of:"
                f" {', '.join(names())}."
            )
        raise unknown("policy", name_or_path, names())
    file = config.read_yaml(path)
    if isinstance(file, dict) and isinstance(file.get("rules"), list):
        file["rules"] = [
            _rule(entry, where=f"{path}, rule {number}")
            for number, entry in enumerate(file["rules"], start=1)
        ]
    policy = config.parse(file, Policy, where=str(path))
    if not policy.rules:
        raise UserError(
            f"{path}: field 'rules' is empty; a policy without rules never passes. Name at least"
            " one rule."
        )
    for name in policy.exclude:
        dimension, _, scenario = name.partition("/")
        if dimension not in DIMENSIONS.names() or not scenario:
            raise UserError(
                f"{path}: field 'exclude': '{name}' does not name a scenario. Write"
                " dimension/scenario, such as mmlu/anatomy."
            )
    return policy


def default(suite: str = "", *, stage: str | None = None) -> str:
    """Return the policy to use if none is named.

    It is that of the stage to move, or else the one that a suite's runs are judged under.
    """
    if stage:
        return stage.lower() if stage.lower() in names() else DEFAULT
    return suites.defaults(suite).policy or DEFAULT


def require_stages(policy: Policy, *, target: str) -> None:
    """Raise UserError if a pass under the policy moves no stage."""
    if not policy.stages:
        raise UserError(
            f"Policy {policy.name} guards no stage (`stages: false`), so it cannot be used for"
            f" {target}. Name another policy, or promote to demo."
        )


def _rule(entry: Any, *, where: str) -> Rule:
    """Return the rule of `{rule: NAME, parameter: value, ...}`. Raises UserError."""
    if not isinstance(entry, dict) or "rule" not in entry:
        raise UserError(
            f"{where}: field 'rule' is missing. Known rules: {', '.join(RULES.names())}."
        )
    name = str(entry["rule"])
    if name not in RULES.names():
        raise UserError(f"{where}: {unknown('rule', name, RULES.names())}")
    rule: type[Rule] = RULES.get(name)
    parameters = {key: value for key, value in entry.items() if key != "rule"}
    for key in [key for key in parameters if key not in rule.model_fields]:
        raise UserError(f"{where} ({name}): {unknown('parameter', key, rule.model_fields)}")
    return config.parse(parameters, rule, where=f"{where} ({name})")
