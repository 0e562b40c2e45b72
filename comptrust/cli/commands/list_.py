"""`comptrust list`: the names that other commands accept, and the settings in effect."""

import os
import pkgutil
from collections.abc import Mapping

import click

from comptrust import config
from comptrust.cli import project
from comptrust.cli.options import json_option, print_result
from comptrust.plugins import Registry
from comptrust.text_tables import table
from comptrust.tracking import store

REGISTRIES = {
    "methods": "comptrust.compression.base:METHODS",
    "backends": "comptrust.models.base:BACKENDS",
    "dimensions": "comptrust.trust.dimensions:REGISTRY",
    "suites": "comptrust.trust.suite:SUITES",
    "scorers": "comptrust.trust.scorers:SCORERS",
    "rules": "comptrust.gate.policy:RULES",
    "imports": "comptrust.imports.log:FORMATS",
}
"""Kinds that plug-ins add to; each is imported only when it is listed."""
FILES = ("policies", "recipes", "sweeps")
"""Kinds that are YAML files."""
KINDS = (*REGISTRIES, *FILES, "models", "formats", "servers", "settings")


@click.command("list")
@click.argument("kind", type=click.Choice(sorted(KINDS)))
@json_option
@click.pass_obj
def command(file: project.Project | None, kind: str, as_json: bool) -> None:
    """List what can be named on the command line, or the settings in effect.

    A plug-in of another package names its package. `settings` shows each value and where it comes
    from: the environment, the project file comptrust.yaml or the default.

    \b
    Example:
      comptrust list methods
    """
    if kind == "settings":
        rows = _settings(file)
        fields = [dict(zip(("setting", "value", "from"), row, strict=True)) for row in rows]
        print_result("\n".join(table(rows)), fields, as_json=as_json)
        return
    about = lines(kind)
    print_result("\n".join(table([*about.items()])), list(about), as_json=as_json, indent=None)


def lines(kind: str) -> Mapping[str, str]:
    """Return the names of one kind, each with a line about it."""
    if kind in FILES:
        paths = sorted((config.SHIPPED / kind).glob("*.yaml"))
        return {path.stem: _about(config.read_yaml(path)) for path in paths}
    if kind in REGISTRIES:
        registry: Registry = pkgutil.resolve_name(REGISTRIES[kind])
        return {name: registry.summary(name) for name in registry.names()}
    if kind == "formats":
        from comptrust.models import formats

        return formats.about()
    if kind == "servers":
        from comptrust.models import servers

        return servers.about()
    from comptrust.models import presets
    from comptrust.models.sources import BUILTIN

    return {f"builtin:{name}": text for name, text in BUILTIN.items()} | {
        f"{name}@{preset.revision[:12]}": f"chat format {preset.template}  {preset.license}"
        for name, preset in presets.table().items()
    }


def _about(content: dict[str, object]) -> str:
    if "description" in content:
        return " ".join(str(content["description"]).split())
    return ", ".join(f"{name} {value}" for name, value in content.items() if name != "model")


def _settings(file: project.Project | None) -> list[tuple[str, str, str]]:
    from comptrust.gate import policy
    from comptrust.gate.signing import keys

    values = file.values if file else {}
    suite = values.get("suite", "mini")
    defaults = {
        "store": store.tracking_uri(),
        "keys": str(keys.default_folder()),
        "policy": policy.default(suite),
        "suite": suite,
        "engine": "auto",
    }
    rows = []
    for name in project.SETTINGS:
        variable = project.VARIABLES.get(name)
        value, source = defaults[name], "default"
        if name in values and (variable is None or os.environ.get(variable) == values[name]):
            value, source = values[name], f"file {file and file.path}"
        elif variable and os.environ.get(variable):
            source = f"environment {variable}"
        rows.append((name, store.redacted(value), source))
    return rows
