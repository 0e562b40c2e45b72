"""`comptrust list`: the names that other commands accept."""

from __future__ import annotations

import json

import click

from comptrust import plugins
from comptrust.cli.options import json_option

PACKAGES = {
    "methods": "comptrust.compression.methods",
    "dimensions": "comptrust.trust.dimensions",
    "suites": "comptrust.trust.suites",
    "rules": "comptrust.gate.rules",
}


@click.command("list")
@click.argument(
    "kind", type=click.Choice(["methods", "models", "dimensions", "suites", "policies", "rules"])
)
@json_option
def command(kind: str, as_json: bool) -> None:
    """List methods, models, dimensions, suites, policies or rules.

    \b
    Example:
      comptrust list methods
    """
    names = known(kind)
    if as_json:
        click.echo(json.dumps(names))
    else:
        click.echo("\n".join(_models() if kind == "models" else names))


def known(kind: str) -> list[str]:
    """Return the names of one kind."""
    if kind == "models":
        from comptrust.models import presets
        from comptrust.models.sources import BUILTIN

        return [f"builtin:{name}" for name in BUILTIN] + list(presets.table())
    if kind == "policies":
        from comptrust.gate import policy

        return list(policy.names())
    return list(plugins.names(PACKAGES[kind]))


def _models() -> list[str]:
    """Return one line per model: name, commit, chat format and license."""
    from comptrust.models import presets
    from comptrust.models.sources import BUILTIN

    lines = [f"builtin:{name}  {text}" for name, text in BUILTIN.items()]
    return lines + [
        f"{name}@{preset.revision[:12]}  chat format {preset.template}  {preset.license}"
        for name, preset in presets.table().items()
    ]
