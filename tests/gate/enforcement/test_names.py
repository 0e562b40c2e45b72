"""Spellings that may pass for a guarded name are guarded too; others are left alone."""

from __future__ import annotations

import pytest

from comptrust.gate.enforcement import names, settings
from comptrust.gate.enforcement.settings import Settings


@pytest.fixture
def loaded() -> Settings:
    return settings.load(
        "comptrust+sqlite:///x.db",
        environment={settings.GUARD_ALIASES: "prod-*=production,canary=staging"},
    )


@pytest.mark.parametrize(
    ("alias", "level"),
    [
        ("champion", "production"),
        ("Champion", "production"),
        ("CHAMPION", "production"),
        ("chámpion", "production"),
        ("champıon", "production"),
        ("ｃｈａｍｐｉｏｎ", "production"),
        ("сhampion", "production"),
        ("champiοn", "production"),
        ("cham\u200dpion", "production"),
        (" champion ", "production"),
        ("ſtaging", "production"),
        ("challenger", "staging"),
        ("CHALLENGER", "staging"),
        ("production", "production"),
        ("prod-eu", "production"),
        ("PROD-EU", "production"),
        ("canary", "staging"),
        ("champion2", None),
        ("my-champion", None),
        ("größe", "production"),
        ("冠军", "production"),
        ("champion\u3164", "production"),
        ("\uffa0champion", "production"),
        ("champiㅇn", "production"),
        ("chalㅣenger", "production"),
        ("cha丨lenger", "production"),
        ("championー", "production"),
        ("champion\x7f", "production"),
        ("champi0n", "production"),
        ("charnpion", "production"),
        ("chaIlenger", "staging"),
        ("prod-eu2", "production"),
        ("prod_eu", "production"),
        ("champ-ion", "production"),
        ("cham_pion_", "production"),
        ("latest-good", None),
        ("v", None),
    ],
)
def test_alias(loaded: Settings, alias: str, level: str | None) -> None:
    assert loaded.of_alias(alias) == level


@pytest.mark.parametrize(
    ("key", "reserved"),
    [
        ("verdict", True),
        ("Verdict", True),
        ("ＶERDICT", True),
        ("comptrust.x", True),
        ("COMPTRUST.x", True),
        ("verdict\u3164", True),
        ("verdiсt", True),
        ("verd1ct", True),
        ("comptrusт.x", True),
        ("größe", False),
        ("длина", False),
        ("policy", False),
        ("bits", False),
    ],
)
def test_reserved_tags(key: str, reserved: bool) -> None:
    assert names.reserved(key) is reserved


@pytest.mark.parametrize(
    ("patterns", "model", "guarded"),
    [
        ("", "anything", True),
        ("llm-*", "LLM-7b", True),
        ("llm-*", "churn", False),
        ("llm-*, churn", "churn", True),
        ("llm-*", "ӏlm-7b", True),
        ("llm-*", "1lm-7b", True),
    ],
)
def test_guarded_models(patterns: str, model: str, guarded: bool) -> None:
    assert (
        settings.load("comptrust+sqlite:///x.db", environment={settings.GUARD: patterns}).guards(
            model
        )
        is guarded
    )


@pytest.mark.parametrize("text", ["champion", "x=gold", "=staging"])
def test_a_guarded_alias_needs_a_level(text: str) -> None:
    from comptrust.errors import UserError

    with pytest.raises(UserError, match="must be PATTERN=staging or PATTERN=production"):
        settings.load("comptrust+sqlite:///x.db", environment={settings.GUARD_ALIASES: text})
