"""The base class of rules: a rule is named after its file unless it says otherwise."""

from __future__ import annotations

from typing import ClassVar

from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import RULES
from comptrust.gate.rule import Rule
from comptrust.records import Finding


class Unnamed(Rule):
    def check(self, evidence: Evidence) -> Finding:
        return self.finding("pass", "Fine.", seen=1)


class Named(Unnamed):
    name: ClassVar[str] = "chosen"


def test_a_rule_has_the_name_of_its_file() -> None:
    assert Unnamed.name == "test_rule"
    for name in RULES.names():
        assert RULES.get(name).name == name


def test_an_explicit_name_wins() -> None:
    evidence = Evidence(candidate=None, baseline=None)  # type: ignore[arg-type]
    assert Named().check(evidence) == Finding(
        rule="chosen", outcome="pass", reason="Fine.", evidence={"seen": 1}
    )


def test_the_name_is_not_a_parameter() -> None:
    assert Unnamed().model_dump() == {}
