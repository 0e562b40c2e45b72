"""The command line: `comptrust COMMAND`, each command a module of this package, imported when it is called."""

from __future__ import annotations

import importlib
import logging
import sys

import click

from comptrust import plugins
from comptrust.errors import ComptrustError

NOT_COMMANDS = {"cli", "options", "workflow"}


class Commands(click.Group):
    """Finds `pipelines/<name>.py:command`; the folder is the list of commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.removesuffix("_") for name in plugins.names("pipelines") if name not in NOT_COMMANDS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        module = name if name in plugins.names("pipelines") else f"{name}_"
        return importlib.import_module(f"pipelines.{module}").command


def _with_dashes(name: str) -> str:
    """Read --group_size as --group-size: MLflow projects write parameters with underscores."""
    return name.replace("_", "-")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _with_dashes})
@click.version_option(package_name="comptrust")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done, to stderr.")
def comptrust(verbose: bool) -> None:
    """Compress a language model, measure what that did to its trustworthiness, promote it only when proven.

    Example: comptrust run --model builtin:smollm2-135m-instruct --method gptq --bits 4
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr, never a traceback."""
    try:
        comptrust(prog_name="comptrust")
    except ComptrustError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
