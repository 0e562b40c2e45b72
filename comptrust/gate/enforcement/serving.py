"""The command that starts `mlflow server` with a guarded registry and protected files."""

import ipaddress
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import extract_db_type_from_uri

from comptrust.errors import UserError
from comptrust.gate.enforcement import private, routes, settings, webhooks
from comptrust.gate.enforcement.frozen import frozen_uri
from comptrust.gate.enforcement.settings import SCHEME, Level, Settings
from comptrust.gate.signing import keys

REFUSED_OPTIONS = {
    "--dev": "it reloads code while it serves",
    "--enable-workspaces": "the guarded registry has no workspaces",
    "--waitress-opts": "mlflow server cannot start its application with waitress; leave it out",
    "--no-serve-artifacts": "clients would write artifacts without the server",
}
SERVER_OPTIONS = ("MLFLOW_UVICORN_OPTS", "MLFLOW_GUNICORN_OPTS", "GUNICORN_CMD_ARGS")
"""Environment variables with options of the program that serves."""
FORWARDED = "FORWARDED_ALLOW_IPS"
"""Environment variable that tells uvicorn and gunicorn whose X-Forwarded-* headers to believe."""
DATABASES = ("sqlite", "postgresql", "mysql")


@dataclass(frozen=True)
class ServerCommand:
    """The options of `mlflow server`, its environment, and what the operator should know."""

    options: tuple[str, ...]
    environment: Mapping[str, str]
    notices: tuple[str, ...]


def server_command(
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
    evidence: Path | None,
    allow: Sequence[str],
    proxies: Sequence[str],
    urls: Sequence[str],
    options: Sequence[str],
) -> ServerCommand:
    """Check every setting and return the command.

    Raises UserError for a store that is not a database, an artifact place that is not a folder, an
    option that opens a way around the gate, or an invalid setting.
    """
    backend, registry = (
        backend.removeprefix(SCHEME),
        registry.removeprefix(SCHEME),
    )
    for uri in (backend, registry):
        if uri.partition(":")[0].partition("+")[0] not in DATABASES:
            raise UserError(
                f"'{uri}' is not a sqlite, postgresql or mysql database, so its registry cannot be"
                " guarded. Set --backend-store-uri."
            )
        extract_db_type_from_uri(uri)
    app_name, options = _application(options)
    for option in options:
        if why := REFUSED_OPTIONS.get(option.partition("=")[0]):
            raise UserError(f"comptrust serve does not take {option}: {why}.")
    if urllib.parse.urlparse(artifacts).scheme not in ("", "file"):
        raise UserError(
            f"--artifacts-destination {artifacts} is not a local folder. Use a folder, or vouch for"
            " the place: docs/enforcement.md."
        )
    variables = {
        settings.KEYS: str(trusted_keys.absolute()),
        **{settings.POLICY[level]: policy for level, policy in policies.items()},
        settings.GUARD: ",".join(models),
        settings.GUARD_ALIASES: ",".join(aliases),
        settings.ARTIFACT_ROOTS: ",".join(artifact_roots),
        settings.AUDIT_LOG: str(audit_log.absolute()) if audit_log else None,
        settings.EVIDENCE: str(evidence.absolute()) if evidence else None,
        webhooks.URLS: " ".join(urls),
    }
    groups = routes.check(allow)
    webhooks.check(urls)
    # What MLflow can be told not to offer, it should not offer in its pages either.
    off = {"jobs": "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "gateway": "MLFLOW_ENABLE_AI_GATEWAY"}
    environment = {
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # unless the operator asks for it
        **os.environ,
        "MLFLOW_SERVE_ARTIFACTS": "true",  # whatever the operator's environment says
        **{name: value for name, value in variables.items() if value},
        **{variable: "false" for group, variable in off.items() if group not in groups},
        routes.ALLOWED: ",".join(groups),
        FORWARDED: _proxies(proxies, options),
    }
    environment.pop(f"UVICORN_{FORWARDED}", None)
    loaded = settings.load(SCHEME + registry, environment=environment)
    if loaded.audit_log is None:
        raise UserError(
            f"--audit-log FILE is required: a {registry.partition(':')[0]} database has no folder"
            " to put the log in."
        )
    folder = Path(local_file_uri_to_path(artifacts))
    private.require(loaded, (backend, registry), folder, environment=environment)
    server_options = (
        *("--backend-store-uri", backend),
        *("--registry-store-uri", SCHEME + registry),
        *("--artifacts-destination", frozen_uri(str(folder))),
        *("--app-name", app_name),
        *options,
    )
    warnings = (f"comptrust: WARNING: --allow {group}: {routes.GROUPS[group]}" for group in groups)
    nameless = (
        f"comptrust: WARNING: policy {policy.name} names no suite (`suites:`), so nothing passes it"
        for policy in loaded.policies.values()
        if not policy.suites
    )
    notices = (*_notices(loaded, trusted_keys), *warnings, *nameless)
    return ServerCommand(server_options, environment, notices)


def _application(options: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the name of our application for the one that was asked for, and the other options."""
    name, rest = "", list(options)
    for place, option in enumerate(options):
        if option.partition("=")[0] == "--app-name":
            given = [place] if "=" in option else [place, place + 1]
            name = " ".join(options[given[0] : given[-1] + 1]).replace("=", " ").partition(" ")[2]
            rest = [word for index, word in enumerate(options) if index not in given]
            break
    if name not in ("", "basic-auth") or any(word.startswith("--app-name") for word in rest):
        raise UserError(
            f"comptrust serve takes --app-name basic-auth once, not '{name}': the routes of other"
            " applications were not judged."
        )
    return (routes.BASIC_AUTH if name else routes.OPEN), tuple(rest)


def _proxies(proxies: Sequence[str], options: Sequence[str]) -> str:
    """Return the addresses whose headers are believed, as uvicorn reads them."""
    for address in proxies:
        try:
            ipaddress.ip_network(address)
        except ValueError as error:
            raise UserError(f"--proxy {address} is not an IP address or network.") from error
    words = (*options, *(os.environ.get(variable, "") for variable in SERVER_OPTIONS))
    if any("forwarded-allow-ips" in word or "forwarded_allow_ips" in word for word in words):
        raise UserError("comptrust serve does not take --forwarded-allow-ips. Use --proxy ADDRESS.")
    other = any(word.startswith("--gunicorn-opts") for word in options)
    if proxies and (other or os.environ.get("MLFLOW_GUNICORN_OPTS")):
        raise UserError("--proxy needs uvicorn, which mlflow server uses by default.")
    return ",".join(proxies)


def _notices(loaded: Settings, trusted_keys: Path) -> tuple[str, str]:
    trusted = keys.load_public_keys(trusted_keys) if trusted_keys.exists() else {}
    trust = (
        f"trusted keys: {', '.join(trusted)}"
        if trusted
        else f"NO trusted key in {trusted_keys}: every guarded change is refused until you put a"
        " .pub.pem there"
    )
    staging, production = loaded.policies["staging"].name, loaded.policies["production"].name
    return f"comptrust: {trust}", (
        f"comptrust: guards {', '.join(loaded.models)}; Staging needs policy {staging}, Production"
        f" {production}; decisions are logged in {loaded.audit_log}"
    )
