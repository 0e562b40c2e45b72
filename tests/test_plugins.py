"""Plug-ins of other packages: added by an entry point, refused in one line if they are broken."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from comptrust import plugins
from comptrust.cli.main import main
from comptrust.compression.base import METHODS
from comptrust.errors import UserError
from comptrust.gate import policy
from comptrust.gate.verdict import judge
from comptrust.plugins import Registry
from tests.support.evaluations import EIGHT, pair

RULE = """
from comptrust.gate.rules.fresh import Fresh

class Calm(Fresh):
    name = "calm"

class Other(Fresh):
    name = "other"

class NoRule:
    pass
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package as pip does: its module and its metadata in a folder of sys.path."""
    monkeypatch.delenv(plugins.ALLOWED, raising=False)

    def installed(package: str, code: str, **entries: str) -> None:
        folder = tmp_path / package
        info = folder / f"{package.replace('-', '_')}-1.5.dist-info"
        info.mkdir(parents=True)
        (folder / f"{package.replace('-', '_')}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        groups = [f"[comptrust.{group}]\n{lines}\n" for group, lines in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(groups))
        monkeypatch.syspath_prepend(str(folder))
        plugins._added.cache_clear()

    yield installed
    plugins._added.cache_clear()


def error_of(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line with which a command ends with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    lines = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and len(lines) == 1, lines
    return lines[0]


def test_a_rule_of_another_package_is_used_like_ours(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("acme-rules", RULE, rules="calm = acme_rules:Calm")
    (tmp_path / "p.yaml").write_text("{name: p, rules: [{rule: calm}]}")
    [rule] = policy.load(str(tmp_path / "p.yaml")).rules
    assert type(rule).__name__ == "Calm"
    assert policy.RULES.provider("calm") == ("acme-rules", "1.5")
    assert policy.RULES.provider("fresh") is None
    used = [(policy.RULES, "calm"), (policy.RULES, "fresh"), (METHODS, "gptq")]
    assert plugins.packages(used) == {"acme-rules": "1.5"}
    with pytest.raises(SystemExit):
        main(["list", "rules"])
    listed = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["calm", "(package acme-rules 1.5)"] in listed


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("calm = acme:Missing", "cannot be loaded (AttributeError"),
        ("calm = acme.nowhere:Calm", "cannot be loaded (ModuleNotFoundError"),
        ("calm = acme:NoRule", "it is not a class with a method 'check'"),
        ("calm = acme:RULE", "it is not a class with a method 'check'"),
        ("calm = acme:Other", "but its class is named 'other'"),
        ("Calm-One = acme:Calm", "lower-case letters"),
        ("fresh = acme:Calm", "Two rules are named 'fresh': one of comptrust"),
    ],
)
def test_a_broken_entry_point_is_one_line_that_names_the_package(
    entry: str,
    says: str,
    install: Install,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install("acme", RULE + "\nRULE = 1\n", rules=entry)
    name = entry.partition(" ")[0]
    (tmp_path / "p.yaml").write_text(f"{{name: p, rules: [{{rule: {name}}}]}}")
    line = error_of("gate", "--plan", "--policy", str(tmp_path / "p.yaml"), capsys=capsys)
    assert says in line and "package 'acme'" in line.replace("Package", "package")


@pytest.mark.parametrize("code", ["raise RuntimeError('boom')", "import no_such_module", "1 +"])
def test_a_package_that_raises_on_import_is_one_line(
    code: str, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("acme", code, methods="noise = acme:Noise")
    line = error_of("compress", "--method", "noise", capsys=capsys)
    assert "The method 'noise' of package 'acme' cannot be loaded" in line
    assert "pip uninstall acme" in line


def test_two_packages_cannot_share_a_name(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("acme", RULE, rules="calm = acme:Calm")
    install("zeta", RULE, rules="calm = zeta:Calm")
    line = error_of("list", "rules", capsys=capsys)
    assert "Two rules are named 'calm'" in line and "'acme'" in line and "'zeta'" in line


@pytest.mark.parametrize(
    ("allowed", "loaded"),
    [(None, True), ("", False), ("other", False), ("acme_rules", True), ("x, Acme.Rules", True)],
)
def test_only_named_packages_are_loaded_where_the_environment_names_some(
    allowed: str | None, loaded: bool, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-rules", RULE, rules="calm = acme_rules:Calm")
    if allowed is not None:
        monkeypatch.setenv(plugins.ALLOWED, allowed)
    assert ("calm" in policy.RULES.names()) is loaded


def test_a_verdict_names_the_packages_that_took_part(install: Install, tmp_path: Path) -> None:
    install("acme-rules", RULE, rules="calm = acme_rules:Calm")
    (tmp_path / "p.yaml").write_text("{name: p, rules: [{rule: calm}, {rule: fresh}]}")
    evidence = pair(EIGHT, 79.0)
    verdict = judge(evidence, policy.load(str(tmp_path / "p.yaml")))
    assert verdict.findings[0].evidence["packages"] == {"acme-rules": "1.5"}
    assert "packages" not in judge(evidence, policy.load("staging")).findings[0].evidence


@pytest.mark.parametrize(("named", "loads"), [(None, False), ("acme-rules", True)])
def test_a_guarded_registry_loads_only_packages_that_its_configuration_names(
    named: str | None,
    loads: bool,
    install: Install,
    tmp_path: Path,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from comptrust.gate.enforcement.store import GuardedStore

    install("acme-rules", RULE, rules="calm = acme_rules:Calm")
    policy_file = tmp_path / "p.yaml"
    policy_file.write_text("{name: p, rules: [{rule: calm}]}")
    monkeypatch.setenv("COMPTRUST_POLICY_STAGING", str(policy_file))
    monkeypatch.setenv(plugins.ALLOWED, named or "")  # undone after the test, as it is set here
    if named is None:
        monkeypatch.delenv(plugins.ALLOWED)
    uri = f"comptrust+sqlite:///{shutil.copy(empty_store, tmp_path / 'guarded.db')}"
    if loads:
        GuardedStore(uri)
    else:
        with pytest.raises(UserError, match="Unknown rule 'calm'"):
            GuardedStore(uri)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of plug-ins of our own, as a checkout has them."""
    package = tmp_path / "ours"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "ours", raising=False)
    plugins._own.cache_clear()
    return package


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("class MYRULE:\n    pass\n", "has no class 'MyRule'"),
        ("def helper(): ...\n", "has no class 'MyRule'"),
        ("class MyRule:\n    pass\n", "is not a rule: it has no method 'check'"),
    ],
)
def test_a_wrongly_named_file_or_class_of_our_own_is_one_line(
    code: str, says: str, folder: Path
) -> None:
    (folder / "my_rule.py").write_text(code)
    registry = Registry("rule", "ours", "comptrust.none", verb="check")
    with pytest.raises(UserError, match="my_rule") as refused:
        registry.get("my_rule")
    assert says in str(refused.value)
