"""`comptrust serve`: an MLflow server whose registry enforces the gate."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from comptrust.cli.options import default_option, say

PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True}
FOLDER = click.Path(path_type=Path)


@click.command("serve", context_settings=PASSED_ON)
@click.option(
    "--backend-store-uri",
    "backend",
    envvar="MLFLOW_BACKEND_STORE_URI",
    help="Database of runs and models  [default: MLFLOW_TRACKING_URI].",
)
@click.option(
    "--registry-store-uri",
    "registry",
    envvar="MLFLOW_REGISTRY_STORE_URI",
    help="Database of models  [default: the one of runs].",
)
@default_option(
    "--artifacts-destination",
    "artifacts",
    envvar="MLFLOW_ARTIFACTS_DESTINATION",
    default="./mlartifacts",
    help="Folder of the artifacts.",
)
@click.option(
    "--trusted-keys",
    type=FOLDER,
    help="Folder of public keys  [default: COMPTRUST_KEYS, else in ~/.config].",
)
@click.option(
    "--policy-staging",
    help="Policy that stage Staging and alias challenger require  [default: staging].",
)
@click.option(
    "--policy-production",
    help="Policy that stage Production and alias champion require  [default: production].",
)
@click.option(
    "--guard",
    "models",
    multiple=True,
    help="Pattern of the registered models to guard; repeatable  [default: all].",
)
@click.option(
    "--guard-alias",
    "aliases",
    multiple=True,
    help="Another alias to guard, PATTERN=staging or PATTERN=production; repeatable.",
)
@click.option(
    "--artifact-root",
    "artifact_roots",
    multiple=True,
    help="URI under which you guarantee that nobody else can change files; repeatable.",
)
@click.option(
    "--audit-log",
    type=FOLDER,
    help="File that records the decisions  [default: beside a sqlite database].",
)
@click.option(
    "--evidence",
    type=FOLDER,
    help="Folder that keeps the evidence of each promotion  [default: beside the audit log].",
)
@click.option(
    "--plugin",
    multiple=True,
    help="Package whose plug-ins the server may load; repeatable  [default: COMPTRUST_PLUGINS,"
    " else none].",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="GROUP",
    help="Routes to turn on that are off for safety: assistant, demo, gateway, jobs, mcp,"
    " promptlab, scorers or webhooks; repeatable.",
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Proxy whose X-Forwarded-For header names the client; repeatable  [default: none].",
)
@click.option(
    "--webhook",
    "urls",
    multiple=True,
    metavar="URL",
    help="Address to which each decision is posted, signed with COMPTRUST_WEBHOOK_SECRET;"
    " repeatable.",
)
@click.argument("options", nargs=-1, metavar="[MLFLOW OPTIONS]...", type=click.UNPROCESSED)
def command(
    backend: str | None,
    registry: str | None,
    trusted_keys: Path | None,
    policy_staging: str | None,
    policy_production: str | None,
    plugin: tuple[str, ...],
    **settings: Any,
) -> None:
    """Start `mlflow server` with the gate in its registry.

    Its artifact folder keeps the files of promoted versions unchanged. Every other option of
    `mlflow server`, such as --host and --port, is passed on to it. Routes that run code, or that
    nobody has judged, are off.

    \b
    Example:
      comptrust serve --backend-store-uri sqlite:///mlflow.db \\
        --trusted-keys keys --port 5000 --app-name basic-auth
    """
    from comptrust import plugins
    from comptrust.gate.enforcement import serving
    from comptrust.gate.signing import keys
    from comptrust.tracking import store

    os.environ[plugins.ALLOWED] = ",".join(plugin) or os.environ.get(plugins.ALLOWED, "")
    backend = backend or store.tracking_uri()
    for uri in (backend, registry or backend):
        store.check_folder(uri.removeprefix("comptrust+"))
    server = serving.server_command(
        backend=backend,
        registry=registry or backend,
        trusted_keys=trusted_keys or keys.default_folder(),
        policies={"staging": policy_staging, "production": policy_production},
        **settings,
    )
    for line in server.notices:
        say(line)
    sys.stdout.flush()
    # this process becomes the server, so that signals reach it
    command = [sys.executable, "-m", "comptrust.cli.mlflow_server", *server.options]
    os.execve(sys.executable, command, dict(server.environment))
