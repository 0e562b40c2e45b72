"""The command line: `comptrust COMMAND`. Each command is one module of `commands`, imported only
when it is called.
"""

from __future__ import annotations

import errno
import importlib
import logging
import sys
from collections.abc import Sequence

import click

from comptrust import __version__, process
from comptrust.errors import ComptrustError, ServiceError, UserError
from comptrust.tracking.store import redacted

COMMANDS = {
    "run": "run",
    "compress": "compress",
    "evaluate": "evaluate",
    "score": "score",
    "gate": "gate",
    "promote": "promote",
    "register": "register",
    "export": "export",
    "sweep": "sweep",
    "report": "report",
    "leaderboard": "leaderboard",
    "backtest": "backtest",
    "keys": "keys",
    "verify": "verify",
    "waive": "waive",
    "serve": "serve",
    "audit": "audit",
    "list": "list_",
}
"""Command name -> its module in `comptrust.cli.commands`, in the order in which --help shows
them."""
INTERRUPTED = 130
WRONG_PATH = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""What a path that somebody gave can be wrong in; any other failure of the system is none of
theirs.
"""
LONGEST = 900
"""Characters of an error line; a file may hold a name of any length."""


class Redacting(logging.Formatter):
    """Shows no credentials, whoever logs them."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class Commands(click.Group):
    """Imports a command's module when the command is called, so that --help stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"comptrust.cli.commands.{COMMANDS[name]}")
        command: click.Command = module.command
        return command


def _with_dashes(name: str) -> str:
    """Read --group_size as --group-size: MLflow projects write parameters with underscores."""
    return name.replace("_", "-")


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _with_dashes},
)
@click.version_option(__version__)
@click.option("-v", "--verbose", is_flag=True, help="Log what is done, to stderr.")
def comptrust(verbose: bool) -> None:
    """Compress a language model, measure what that did to its trustworthiness, promote it only when
    proven.

    Example: comptrust run --model builtin:smollm2-135m-instruct --method gptq --bits 4
    """
    process.prepare(verbose=verbose)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Redacting("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 2 after a user's mistake, 4 after a failure of this machine,
    each told in one line on stderr.
    """
    code = 0
    try:
        done = comptrust(args=arguments, prog_name="comptrust", standalone_mode=False)
        code = done if isinstance(done, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        code = _told(
            error.format_message() + (f" Help: {context.command_path} --help" if context else ""),
            error.exit_code,
        )
    except ComptrustError as error:
        code = _told(str(error), error.exit_code)
    except click.Abort:
        code = _told("Interrupted. What was finished is kept.", INTERRUPTED)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        kind = UserError if error.errno in WRONG_PATH else ServiceError
        code = _told(
            f"{place}{error.strerror or error}. Mend that and run again; what was finished is"
            " kept.",
            kind.exit_code,
        )
    except MemoryError:
        code = _told(
            "Not enough memory. What was finished is kept; use a machine with more.",
            ServiceError.exit_code,
        )
    sys.exit(code)


def _told(text: str, code: int) -> int:
    """Print one line without credentials, and without control characters, which a file or a name
    could bring to the terminal.
    """
    line = " ".join(redacted(text).split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST - 300]} [...] {line[-300:]}"
    click.echo(
        "Error: " + "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in line),
        err=True,
    )
    return code
