"""`comptrust serve`: what the server is started with, and what it does not start with."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from comptrust.errors import UserError
from comptrust.gate.enforcement import serving, settings
from comptrust.gate.enforcement.serving import ServerCommand
from tests.support.enforcement.world import STAGING, write_key


def plan(tmp_path: Path, **changes: Any) -> ServerCommand:
    given: dict[str, Any] = {
        "backend": "sqlite:///mlflow.db",
        "registry": "sqlite:///mlflow.db",
        "artifacts": str(tmp_path / "mlartifacts"),
        "trusted_keys": tmp_path / "keys",
        "policies": {"staging": None, "production": None},
        "models": (),
        "aliases": (),
        "artifact_roots": (),
        "audit_log": None,
        "evidence": None,
        "allow": (),
        "proxies": (),
        "urls": (),
        "options": (),
    }
    return serving.server_command(**(given | changes))


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        settings.KEYS,
        settings.AUDIT_LOG,
        settings.GUARD,
        settings.GUARD_ALIASES,
        *settings.POLICY.values(),
    ):
        monkeypatch.delenv(name, raising=False)


def test_the_registry_is_guarded_and_the_tracking_store_is_not(tmp_path: Path) -> None:
    write_key(tmp_path / "keys")
    server = plan(tmp_path, options=("--app-name", "basic-auth", "--port", "5001"))
    words = list(server.options)
    assert words[words.index("--backend-store-uri") + 1] == "sqlite:///mlflow.db"
    assert words[words.index("--registry-store-uri") + 1] == "comptrust+sqlite:///mlflow.db"
    assert (
        words[words.index("--artifacts-destination") + 1]
        == f"comptrust+{(tmp_path / 'mlartifacts').as_uri()}"
    )
    assert words[-4:] == ["--app-name", "comptrust-basic-auth", "--port", "5001"]
    assert server.environment[settings.KEYS] == str(tmp_path / "keys")
    assert server.notices[0].startswith("comptrust: trusted keys: ")


def test_settings_reach_the_server(tmp_path: Path) -> None:
    server = plan(
        tmp_path,
        policies={"staging": "production", "production": None},
        models=("llm-*", "chat"),
        aliases=("prod-*=production",),
        audit_log=tmp_path / "a.jsonl",
    )
    loaded = settings.load("comptrust+sqlite:///mlflow.db", environment=server.environment)
    assert (loaded.policies["staging"].name, loaded.policies["production"].name) == (
        "production",
        "production",
    )
    assert (loaded.models, loaded.of_alias("prod-x"), loaded.audit_log) == (
        ("llm-*", "chat"),
        "production",
        tmp_path / "a.jsonl",
    )


def test_a_policy_that_nothing_passes_is_named(tmp_path: Path) -> None:
    assert not any("names no suite" in notice for notice in plan(tmp_path).notices)
    (tmp_path / "old.yaml").write_text("name: ours\nrules: [{rule: complete}]\n")
    server = plan(tmp_path, policies={"staging": str(tmp_path / "old.yaml"), "production": None})
    assert "WARNING: policy ours names no suite" in server.notices[-1]


def test_no_key_starts_and_says_so(tmp_path: Path) -> None:
    assert "NO trusted key" in plan(tmp_path).notices[0]
    (tmp_path / "keys").mkdir()
    assert "NO trusted key" in plan(tmp_path).notices[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backend": "./mlruns"}, "is not a sqlite, postgresql or mysql database"),
        ({"registry": "http://other:5000"}, "is not a sqlite, postgresql or mysql database"),
        ({"artifacts": "s3://bucket"}, "is not a local folder"),
        ({"options": ("--no-serve-artifacts",)}, "clients would write artifacts without"),
        ({"options": ("--dev",)}, "does not take --dev"),
        ({"options": ("--waitress-opts=--threads=4",)}, "with waitress; leave it out"),
        ({"options": ("--enable-workspaces",)}, "no workspaces"),
        ({"options": ("--app-name", "other")}, "not 'other': the routes of other applications"),
        ({"options": ("--app-name=basic-auth", "--app-name=x")}, "--app-name basic-auth once"),
        ({"options": ("--uvicorn-opts=--forwarded-allow-ips *",)}, "Use --proxy ADDRESS"),
        ({"proxies": ("*",)}, "--proxy * is not an IP address"),
        ({"proxies": ("10.0.0.1",), "options": ("--gunicorn-opts", "")}, "--proxy needs uvicorn"),
        ({"allow": ("assistent",)}, "--allow assistent is not one of assistant, demo"),
        ({"policies": {"staging": "stagging", "production": None}}, "Did you mean 'staging'"),
        ({"aliases": ("prod",)}, "must be PATTERN=staging or PATTERN=production"),
        (
            {"backend": "postgresql://h/db", "registry": "postgresql://h/db"},
            "--audit-log FILE is required: a postgresql database",
        ),
    ],
)
def test_what_opens_a_way_around_does_not_start(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        plan(tmp_path, **changes)


def test_nothing_is_allowed_and_no_header_is_believed_unless_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORWARDED_ALLOW_IPS", "UVICORN_FORWARDED_ALLOW_IPS"):
        monkeypatch.setenv(name, "*")
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "true")
    closed = plan(tmp_path)
    assert list(closed.options)[-2:] == ["--app-name", "comptrust"]
    assert closed.environment["FORWARDED_ALLOW_IPS"] == ""
    assert "UVICORN_FORWARDED_ALLOW_IPS" not in closed.environment
    assert closed.environment["COMPTRUST_ALLOW"] == ""
    assert closed.environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert not any("WARNING" in notice for notice in closed.notices)

    opened = plan(tmp_path, allow=("assistant", "jobs"), proxies=("10.0.0.1", "10.1.0.0/16"))
    assert opened.environment["FORWARDED_ALLOW_IPS"] == "10.0.0.1,10.1.0.0/16"
    assert opened.environment["COMPTRUST_ALLOW"] == "assistant,jobs"
    assert opened.environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "true"
    assert "WARNING: --allow assistant: whoever reaches the server" in opened.notices[2]


@pytest.mark.parametrize(
    "scheme", ["sqlite", "postgresql", "mysql", "postgresql+psycopg2", "mysql+pymysql"]
)
def test_mlflow_finds_the_guarded_store(scheme: str) -> None:
    from mlflow.server.handlers import _model_registry_store_registry

    assert (
        _model_registry_store_registry.get_store_builder(f"comptrust+{scheme}://x").__module__
        == "comptrust.gate.enforcement.plugin"
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"audit_log": "mlartifacts/a.jsonl"}, "audit log"),
        ({"evidence": "mlartifacts/kept"}, "evidence store"),
        ({"evidence": "."}, "evidence store"),
        ({"trusted_keys": "mlartifacts/keys"}, "folder of trusted keys"),
        ({"trusted_keys": "."}, "folder of trusted keys"),
        ({"artifacts": "link"}, "folder of trusted keys"),
        ({"policies": {"staging": "mlartifacts/p.yaml", "production": None}}, "policy"),
        ({"artifacts": "."}, "audit log"),
        ({"artifacts": "/"}, "audit log"),
        ({"artifacts": sys.prefix}, "Python environment"),
        ({"artifact_roots": ("file://{folder}",)}, "audit log"),
        ({"artifact_roots": ("{folder}/kept",), "evidence": "kept"}, "evidence store"),
    ],
)
def test_what_clients_reach_has_none_of_the_servers_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlartifacts").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "keys")
    (tmp_path / "mlartifacts" / "p.yaml").write_text(STAGING)
    paths = {"audit_log", "evidence", "trusted_keys"}
    given = {key: Path(value) if key in paths else value for key, value in changes.items()}
    if "artifact_roots" in given:
        given["artifact_roots"] = [root.format(folder=tmp_path) for root in given["artifact_roots"]]
    with pytest.raises(UserError, match=f"^The {what} .* must be apart"):
        plan(tmp_path, **given)


def test_the_accounts_are_out_of_reach_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "auth.ini"
    database = tmp_path / "mlartifacts" / "users.db"
    config.write_text(f"[mlflow]\ndatabase_uri = sqlite:///{database}\n")
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(config))
    with pytest.raises(UserError, match="^The database .*users.db and the folder"):
        plan(tmp_path)
