"""The command `comptrust` and its list of commands, each one module of `commands`."""

import logging
import pkgutil
import sys

import click

from comptrust import __version__, process
from comptrust.cli import project
from comptrust.tracking.store import redacted

SECTIONS = {
    "Compress and measure": "run compress evaluate register sweep search score import control",
    "Judge and promote": "gate compare history promote waive seal regate suites backtest",
    "Show and hand over": "report leaderboard export verify list setup",
    "Keys and the enforcing server": "keys serve audit",
}
"""Heading -> commands, in the order of --help. Each is a module of `comptrust.cli.commands`."""
COMMANDS = tuple(" ".join(SECTIONS.values()).split())
MODULES = {"list": "list_", "import": "import_"}
"""Command -> its module, where the names differ."""


class Redacting(logging.Formatter):
    """Removes credentials from what any library logs."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class Commands(click.Group):
    """Imports a command's module when the command is called, so that --help stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = f"comptrust.cli.commands.{MODULES.get(name, name)}"
        command: click.Command = pkgutil.resolve_name(f"{module}:command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by task, each with the whole first sentence of its help."""
        for heading, names in SECTIONS.items():
            commands = {name: self.get_command(ctx, name) for name in names.split()}
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (name, command.get_short_help_str(limit=200))
                        for name, command in commands.items()
                        if command
                    ]
                )


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # MLflow projects write --group_size.
        "token_normalize_func": lambda name: name.replace("_", "-"),
    },
)
@click.version_option(__version__)
@click.option("-v", "--verbose", is_flag=True, help="Show the logs of libraries too, on stderr.")
@click.pass_context
def comptrust(ctx: click.Context, verbose: bool) -> None:
    """Compress a language model, measure what that did to its trustworthiness, and promote it only
    if it passes.

    \b
    Exit codes, for every command:
      0   done, or the verdict passes
      1   the verdict blocks, or verify or audit found a problem; nothing else
      2   unusable input: the message says which value and what to do
      3   the verdict is inconclusive
      4   a service, this machine or comptrust itself failed; finished work is kept

    \b
    Example:
      comptrust run --model builtin:smollm2-135m-instruct --method gptq --bits 4
    """
    process.prepare(verbose=verbose)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Redacting("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    project.apply(ctx)
