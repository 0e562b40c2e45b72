"""The project file `comptrust.yaml`: settings that a team would otherwise repeat in each command.

It may come with a repository that somebody cloned, so a command says on stderr when it uses one,
and commands that decide what is trusted take neither keys nor a policy from it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from comptrust import config
from comptrust.errors import UserError, unknown
from comptrust.tracking.store import redacted

NAME = "comptrust.yaml"
VARIABLES = {"store": "MLFLOW_TRACKING_URI", "keys": "COMPTRUST_KEYS"}
"""Setting -> the environment variable that wins over the file."""
OPTIONS = {
    "run": ("policy", "suite", "engine"),
    "register": ("policy", "suite", "engine"),
    "evaluate": ("suite", "engine"),
    "seal": ("policy", "suite"),
    "gate": ("policy",),
    "control": ("policy",),
}
"""Command -> the options that take their default from the file."""
SETTINGS = ("store", "keys", "policy", "suite", "engine")
TRUSTING = ("promote", "regate", "verify", "audit")
"""Commands that decide what is trusted."""
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@dataclass(frozen=True)
class Project:
    """A project file that was found."""

    path: Path
    values: Mapping[str, str]
    """Setting -> value, with paths made absolute."""


def apply(ctx: click.Context) -> None:
    """Let the called command, but not `serve`, use the project file, and say so on stderr."""
    command = str(ctx.invoked_subcommand)
    path = find()
    if path is None or command == "serve":
        return
    project = ctx.obj = read(path)
    used = {name: project.values[name] for name in _used(command) if name in project.values}
    for name, variable in VARIABLES.items():
        if name in used:
            os.environ[variable] = used[name]
            ctx.call_on_close(lambda variable=variable: os.environ.pop(variable, None))
    ctx.default_map = {command: {name: used[name] for name in used if name not in VARIABLES}}
    left = [name for name in ("keys", "policy") if command in TRUSTING and name in project.values]
    parts = [f"{name} {value}" for name, value in used.items()]
    if left:
        parts.append(f"not {' and '.join(left)}, which {command} takes from options alone")
    if parts and not {"-h", "--help"} & set(ctx.args):
        click.echo(redacted(f"{path}: {', '.join(parts)}"), err=True)


def find() -> Path | None:
    """Return the nearest project file, from the current folder up to the root of its repository.

    Outside a repository only the current folder counts: others may write to those above it.
    """
    folders = [Path.cwd(), *Path.cwd().parents]
    root = next((n for n, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    files = (folder / NAME for folder in folders[: root + 1])
    return next((file for file in files if file.is_file()), None)


def read(path: Path) -> Project:
    """Read a project file. Raises UserError, with the nearest name, for a setting unknown to it."""
    content = config.read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold 'setting: value' lines. Known: {', '.join(SETTINGS)}.")
    for name, value in content.items():
        if name not in SETTINGS:
            raise unknown(f"setting in {path}:", name, SETTINGS)
        if not isinstance(value, str) or not value:
            raise UserError(f"{path}: setting '{name}' is not a text (got {value!r:.80}).")
    return Project(path, {name: _resolved(name, content[name], path) for name in content})


def gave(option: str) -> bool:
    """Return whether the value of an option of this command is that of the project file."""
    ctx = click.get_current_context()
    return (
        isinstance(ctx.obj, Project)
        and ctx.get_parameter_source(option) is ParameterSource.DEFAULT_MAP
        and ctx.params[option] == ctx.obj.values.get(option)
    )


def _used(command: str) -> tuple[str, ...]:
    names = [name for name, variable in VARIABLES.items() if not os.environ.get(variable)]
    if command in TRUSTING:
        names = [name for name in names if name != "keys"]
    return (*names, *OPTIONS.get(command, ()))


def _resolved(name: str, value: str, path: Path) -> str:
    """Return a value whose path, if it is one, starts at the folder of the file."""
    kind, colon, rest = value.partition(":")
    if name == "keys" or (name == "policy" and path.with_name(value).is_file()):
        return str(path.parent / config.path_of(value))
    if name == "suite" and kind == "decodingtrust" and rest:
        return f"{kind}:{path.parent / config.path_of(rest)}"
    if name == "store":
        if kind == "sqlite" and rest.startswith("///") and not rest.startswith("////"):
            return f"sqlite:///{path.parent / rest[3:]}"
        if not colon:
            return str(path.parent / config.path_of(value))
        _check_credentials(value, path)
    return value


def _check_credentials(store: str, path: Path) -> None:
    """Send no credential of the user to an address that a file names."""
    if os.environ.get(VARIABLES["store"]) or not store.startswith(("http:", "https:")):
        return
    kept = Path.home() / ".mlflow" / "credentials"
    found = [name for name in CREDENTIALS if os.environ.get(name)]
    if found or kept.is_file():
        raise UserError(
            f"{path} names the store {store}, and {found[0] if found else kept} has a credential"
            f" that would be sent there. If it is meant for it, set {VARIABLES['store']} yourself."
        )
