"""`comptrust list`: what can be named on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import click

from comptrust import plugins
from pipelines.options import json_option

PACKAGES = {
    "methods": "comptrust.compression.methods",
    "dimensions": "comptrust.trust.dimensions",
    "suites": "comptrust.trust.suites",
    "rules": "validation.rules",
}


@click.command("list")
@click.argument("kind", type=click.Choice(["methods", "models", "dimensions", "suites", "policies", "rules"]))
@json_option
def command(kind: str, as_json: bool) -> None:
    """List methods, models, dimensions, suites, policies or rules.

    Example: comptrust list methods
    """
    names = known(kind)
    click.echo(json.dumps(names) if as_json else "\n".join(names))


def known(kind: str) -> list[str]:
    """Return the names of one kind."""
    if kind == "models":
        from comptrust.models.sources import BUILTIN

        return [f"builtin:{name}" for name in BUILTIN]
    if kind == "policies":
        import validation

        return sorted(path.stem for path in (Path(validation.__file__).parent / "policies").glob("*.yaml"))
    return list(plugins.names(PACKAGES[kind]))
