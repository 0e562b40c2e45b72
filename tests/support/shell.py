"""The command line called in this process, in a folder of its own, with everything that it tells
and leaves behind.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from comptrust.cli.main import main

REFUSED = (2, 4)
JUDGED = (0, 1, 3)
LONGEST = 1000
"""Characters that an error line must stay below, whatever a file holds."""


@dataclass(frozen=True)
class Told:
    """How one command ended."""

    code: int
    out: str
    err: str


@dataclass
class Shell:
    """Runs commands in its folder; a traceback of one is an exception of the test."""

    folder: Path
    tried: Counter[str] = field(default_factory=Counter)

    def __call__(self, *arguments: str) -> Told:
        out, err = io.StringIO(), io.StringIO()
        before = dict(os.environ)
        try:
            with (
                contextlib.chdir(self.folder),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                main(arguments)
        except SystemExit as end:
            return Told(int(end.code or 0), out.getvalue(), err.getvalue())
        finally:
            os.environ.clear()
            os.environ.update(before)
        raise AssertionError("main() returned without an exit code")

    def refused(self, *arguments: str) -> str:
        """Return the one line with which a command is refused; nothing may be left behind by it."""
        told = self._run(*arguments)
        assert told.code in REFUSED, f"{arguments}: exit {told.code}\n{told.err}"
        return told.err.strip()

    def survived(self, *arguments: str) -> bool:
        """Run a command on input that may be malformed: refused as above, or carried out; return
        whether it was refused.
        """
        return self._run(*arguments).code in REFUSED

    def _run(self, *arguments: str) -> Told:
        before = self.files()
        told = self(*arguments)
        shown = f"{arguments}: exit {told.code}\n{told.out}\n{told.err}"
        if told.code in REFUSED:
            line = told.err.removesuffix("\n")
            assert line.startswith("Error: ") and line.isprintable(), (
                shown
            )  # a line break is not printable
            assert not line.startswith("Error: Unexpected"), f"a crash: {shown}"
            assert len(line) < LONGEST, shown
            assert told.out == "", shown
            changed = set(self.files().items()) ^ set(before.items())
            assert not changed, f"{shown}\nleft behind or changed: {changed}"
        else:
            assert told.code in JUDGED, shown
        self.tried["refused" if told.code in REFUSED else "accepted"] += 1
        return told

    def files(self) -> dict[str, int]:
        """Return path -> size of all files below the folder but the database, which an innocent
        question may create.
        """
        found = (path for path in self.folder.rglob("*") if not path.name.startswith("mlflow.db"))
        return {
            str(path.relative_to(self.folder)): path.stat().st_size if path.is_file() else -1
            for path in found
        }
