"""`comptrust list`: the names that other commands accept."""

import pkgutil

import click

from comptrust import config
from comptrust.cli.options import json_option, print_result
from comptrust.plugins import Registry

REGISTRIES = {
    "methods": "comptrust.compression.base:METHODS",
    "backends": "comptrust.models.base:BACKENDS",
    "dimensions": "comptrust.trust.dimensions:REGISTRY",
    "suites": "comptrust.trust.suite:SUITES",
    "scorers": "comptrust.trust.scorers:SCORERS",
    "rules": "comptrust.gate.policy:RULES",
}
"""Kinds that plug-ins add to; each is imported only when it is listed."""
FILES = ("policies", "recipes", "sweeps")
"""Kinds that are YAML files."""


@click.command("list")
@click.argument("kind", type=click.Choice(sorted([*REGISTRIES, *FILES, "models"])))
@json_option
def command(kind: str, as_json: bool) -> None:
    """List what can be named on the command line; a plug-in of another package names its package.

    \b
    Example:
      comptrust list methods
    """
    lines = _lines(kind)
    print_result("\n".join(lines.values()), list(lines), as_json=as_json, indent=None)


def _lines(kind: str) -> dict[str, str]:
    """Return the names of one kind, each with its line of text."""
    if kind in FILES:
        names = sorted(path.stem for path in (config.SHIPPED / kind).glob("*.yaml"))
        return {name: name for name in names}
    if kind in REGISTRIES:
        registry: Registry = pkgutil.resolve_name(REGISTRIES[kind])
        providers = {name: registry.provider(name) for name in registry.names()}
        return {
            name: f"{name}  (package {' '.join(provider)})" if provider else name
            for name, provider in providers.items()
        }
    from comptrust.models import presets
    from comptrust.models.sources import BUILTIN

    lines = {f"builtin:{name}": f"builtin:{name}  {text}" for name, text in BUILTIN.items()}
    return lines | {
        name: f"{name}@{preset.revision[:12]}  chat format {preset.template}  {preset.license}"
        for name, preset in presets.table().items()
    }
