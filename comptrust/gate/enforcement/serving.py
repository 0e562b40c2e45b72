"""What `mlflow server` must be started with so that its registry is guarded and its artifact folder
keeps promoted files.
"""

from __future__ import annotations

import os
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import extract_db_type_from_uri

from comptrust.errors import UserError
from comptrust.gate.enforcement import settings
from comptrust.gate.enforcement.frozen import frozen_uri
from comptrust.gate.enforcement.settings import SCHEME, Level
from comptrust.gate.signing import keys

REFUSED_OPTIONS = {
    "--dev": "it reloads code while it serves",
    "--enable-workspaces": "the guarded registry has no workspaces",
    "--no-serve-artifacts": "clients would write artifacts past the server",
}


@dataclass(frozen=True)
class Plan:
    """A command with its environment, and what the operator should know."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    told: tuple[str, ...]


def plan(
    *,
    backend: str,
    registry: str,
    artifacts: str,
    trusted_keys: Path,
    policies: Mapping[Level, str | None],
    models: Sequence[str],
    aliases: Sequence[str],
    artifact_roots: Sequence[str],
    audit_log: Path | None,
    options: Sequence[str],
) -> Plan:
    """Check every setting and return the command.

    Raises UserError for a store that is no database, an artifact place that is no folder, an option
    that opens a way around, or a setting that cannot be used.
    """
    backend, registry = backend.removeprefix(SCHEME), registry.removeprefix(SCHEME)
    for uri in (backend, registry):
        _database(uri)
    for option in options:
        if why := REFUSED_OPTIONS.get(option.partition("=")[0]):
            raise UserError(f"comptrust serve does not take {option}: {why}.")
    if urllib.parse.urlparse(artifacts).scheme not in ("", "file"):
        raise UserError(
            f"--artifacts-destination {artifacts} is not a local folder. Give one, or vouch for the"
            " place: docs/enforcement.md."
        )
    variables = {
        settings.KEYS: str(trusted_keys.absolute()),
        **{settings.POLICY[level]: given for level, given in policies.items()},
        settings.GUARD: ",".join(models),
        settings.GUARD_ALIASES: ",".join(aliases),
        settings.ARTIFACT_ROOTS: ",".join(artifact_roots),
        settings.AUDIT_LOG: str(audit_log.absolute()) if audit_log else None,
    }
    quiet, proxied = (
        {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"},
        {"MLFLOW_SERVE_ARTIFACTS": "true"},
    )
    environment = (
        quiet
        | dict(os.environ)
        | proxied
        | {name: value for name, value in variables.items() if value}
    )
    loaded = settings.load(SCHEME + registry, environment=environment)
    if loaded.audit_log is None:
        raise UserError(
            f"Where shall decisions be logged? Give --audit-log FILE; {registry.partition(':')[0]}"
            " has no folder to log in."
        )
    trusted = keys.load_public_keys(trusted_keys) if trusted_keys.exists() else {}
    told = [
        (
            f"comptrust: {len(trusted)} trusted keys ({', '.join(trusted)})"
            if trusted
            else (
                f"comptrust: NO trusted key in {trusted_keys}: everything guarded is refused until"
                " a .pub.pem is put there"
            )
        ),
        (
            f"comptrust: guards {', '.join(loaded.models)}; Staging needs policy"
            f" {loaded.policies['staging'].name}, Production {loaded.policies['production'].name};"
            f" decisions are logged in {loaded.audit_log}"
        ),
    ]
    command = (
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        backend,
        "--registry-store-uri",
        SCHEME + registry,
    )
    return Plan(
        (
            *command,
            "--artifacts-destination",
            frozen_uri(local_file_uri_to_path(artifacts)),
            *options,
        ),
        environment,
        tuple(told),
    )


def _database(uri: str) -> None:
    kind = uri.partition(":")[0]
    if kind.partition("+")[0] not in ("sqlite", "postgresql", "mysql"):
        raise UserError(
            f"'{uri}' is not a sqlite, postgresql or mysql database, so its registry cannot be"
            " guarded. Give --backend-store-uri."
        )
    extract_db_type_from_uri(uri)
