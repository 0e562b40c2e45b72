"""`comptrust list`: the names that other commands accept."""

import json
import pkgutil

import click

from comptrust import config
from comptrust.cli.options import json_option
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
    click.echo(json.dumps(known(kind)) if as_json else "\n".join(_lines(kind)))


def known(kind: str) -> list[str]:
    """Return the names of one kind."""
    if kind in REGISTRIES:
        return list(_registry(kind).names())
    if kind in FILES:
        return sorted(path.stem for path in (config.SHIPPED / kind).glob("*.yaml"))
    from comptrust.models import presets
    from comptrust.models.sources import BUILTIN

    return [f"builtin:{name}" for name in BUILTIN] + list(presets.table())


def _registry(kind: str) -> Registry:
    registry: Registry = pkgutil.resolve_name(REGISTRIES[kind])
    return registry


def _lines(kind: str) -> list[str]:
    """Return one line a name."""
    if kind == "models":
        return _models()
    if kind in FILES:
        return known(kind)
    registry = _registry(kind)
    providers = {name: registry.provider(name) for name in registry.names()}
    return [
        f"{name}  (package {' '.join(provider)})" if provider else name
        for name, provider in providers.items()
    ]


def _models() -> list[str]:
    """Return one line per model: name, commit, chat format and license."""
    from comptrust.models import presets
    from comptrust.models.sources import BUILTIN

    lines = [f"builtin:{name}  {text}" for name, text in BUILTIN.items()]
    return lines + [
        f"{name}@{preset.revision[:12]}  chat format {preset.template}  {preset.license}"
        for name, preset in presets.table().items()
    ]
