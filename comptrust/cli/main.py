"""The entry point: run the command line and end with one of the codes of `errors.Exit`.

Only the standard library is imported here at once, so that even a broken installation of click is
reported as a failure (exit 4) and never ends with Python's own exit code 1, which means "blocked".
"""

import contextlib
import os
import select
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from comptrust import crashes
from comptrust.errors import Exit, UserError
from comptrust.tracking.store import redacted

if TYPE_CHECKING:
    import click

COMPLETION = "_COMPTRUST_COMPLETE"
"""Environment variable by which a shell asks click for completions."""
INTERRUPTED = "Interrupted. Finished work has been kept: run the same command again to continue."
MAX_LINE = 900
"""Characters of an error line; a file may hold a name of any length."""
KEPT_END = 300
"""Characters kept at the end of a longer line, where the remedy is."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    sys.exit(guarded(lambda: _command(arguments)))


def guarded(work: Callable[[], int]) -> int:
    """Do the work and return its exit code; a failure becomes one line on stderr and its code."""
    try:
        code = _code_of(work)
    except KeyboardInterrupt:
        code = _fail(INTERRUPTED, Exit.INTERRUPTED)
    _release_output()
    return code


def _code_of(work: Callable[[], int]) -> int:
    try:
        code = work()
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk or a closed pipe shows here, not after we are done
        return code
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        if error.code is None or error.code == Exit.PASS:
            return Exit.PASS
        if isinstance(error.code, int) and error.code > 128:  # a signal
            return error.code
        # Commands end with click's Exit, so this is a library that wants to end the program.
        failure = crashes.explain(error, redact=redacted)
    except BrokenPipeError as error:
        if _reader_gone():
            return Exit.READER_GONE
        failure = crashes.explain(error, redact=redacted)
    except BaseException as error:  # also a panic in Rust, which is not an Exception
        failure = crashes.explain(error, redact=redacted)
    return _fail(*failure)


def _command(arguments: Sequence[str] | None) -> int:
    import click

    from comptrust.cli.app import comptrust

    if instruction := os.environ.get(COMPLETION):
        return _complete(comptrust, instruction)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # not click's own main(): it ends with 1 when the reader of our output is gone
        with comptrust.make_context("comptrust", given) as context:
            comptrust.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USER
    except click.ClickException as error:
        context_of = getattr(error, "ctx", None)
        help_hint = f" Help: {context_of.command_path} --help" if context_of else ""
        raise UserError(error.format_message() + help_hint) from error
    except click.Abort:
        raise KeyboardInterrupt from None
    return Exit.PASS


def _complete(group: "click.Command", instruction: str) -> int:
    """Answer a shell that asks for completions; what goes wrong must not end up on its line."""
    from click.shell_completion import shell_complete

    from comptrust.cli import complete

    complete.use_whole_words_in_bash()
    try:
        failed = shell_complete(group, {}, "comptrust", COMPLETION, instruction)
    except Exception:
        return Exit.USER
    return Exit.USER if failed else Exit.PASS


def _fail(text: str, code: int) -> int:
    """Print one line on stderr and return the code.

    Credentials are removed, and control characters, which a file or a name could bring to the
    terminal, are shown as escapes.
    """
    line = " ".join(redacted(text).split())
    if len(line) > MAX_LINE:
        line = f"{line[: MAX_LINE - KEPT_END]} [...] {line[-KEPT_END:]}"
    line = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in line)
    with contextlib.suppress(OSError, ValueError):  # stderr may be closed or full
        print(f"Error: {line}", file=sys.stderr, flush=True)
    return code


def _reader_gone() -> bool:
    """Tell whether a broken pipe is our own stdout, rather than a connection to some service."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return bool(poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return False


def _release_output() -> None:
    """Drop output that cannot be written: Python would try again at exit and change the code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
