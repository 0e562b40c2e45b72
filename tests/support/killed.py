"""A command in processes that die at a chosen moment, as if the power went or one of them was
shot."""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from comptrust.sweep.cell import Task

PRELOADED = (
    "mlflow",
    "mlflow.transformers",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "great_expectations",
    "great_expectations.expectations",
    "llmcompressor",
    "matplotlib.figure",
    "sklearn.linear_model",
    "transformers.models.llama.modeling_llama",
    "comptrust.compression.oneshot",
    "comptrust.models.backends.hf",
    "comptrust.trust.run",
    "comptrust.workflow.job",
    "comptrust.cli.commands.run",
    "comptrust.cli.commands.sweep",
    "comptrust.sweep.driver",
)
"""Imported once, in a server process that every process here is forked from, so that a run takes
seconds.
"""
CHANGES = (
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.truncate",
    "shutil.rmtree",
    "shutil.copyfile",
    "sqlite3.connect",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
SECONDS = 600
"""After which a command counts as one that hangs."""
ASKING = threading.Lock()
"""Held while a process is started or asked for its exit code: a start asks all of them, and each is
told only once.
"""


@dataclass(frozen=True)
class Death:
    """When and how a command dies."""

    at_change: int
    """Before the nth change of the file system that any of its processes makes."""
    later: float | None = None
    """So many seconds after that change, wherever it is by then."""
    alone: bool = False
    """Only the process that makes the change dies; otherwise all of them."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Exit code of its first process; -9 where it was killed."""
    seconds: float
    changes: int
    """Changes of the file system that its processes made."""
    said: str


def run(
    line: str,
    folder: Path,
    *,
    environment: dict[str, str],
    death: Death | None = None,
    meanwhile: Callable[[BaseProcess], None] = lambda process: None,
) -> Ended:
    """Run a command line in a folder, to its end or to its death; `meanwhile` is called once it has
    begun.
    """
    beside(folder, "changes").write_bytes(b"")
    process = context().Process(target=_work, args=(line, str(folder), environment, death))
    began = time.monotonic()
    with ASKING:
        process.start()
    meanwhile(process)
    if death is not None and death.later is not None:
        while _changes(folder) < death.at_change and _exit_code(process) is None:
            time.sleep(0.002)
        time.sleep(death.later)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    while (code := _exit_code(process)) is None:
        if time.monotonic() - began > SECONDS:
            process.kill()
            raise AssertionError(f"it hangs: {(folder / 'said').read_text()}")
        time.sleep(0.01)
    return Ended(
        code,
        time.monotonic() - began,
        _changes(folder),
        (folder / "said").read_text(errors="replace"),
    )


def asked(folder: Path) -> list[str]:
    """Return `dimension/id` of every prompt that any process asked of a model, as often as it was
    asked.
    """
    return [prompt for line in _noted(folder, "asked") for prompt in json.loads(line)]


def given(folder: Path) -> list[str]:
    """Return `checkpoint:dimension/id` of every answer that a model gave, as often as it was
    given."""
    return _noted(folder, "given")


def beside(folder: Path, name: str) -> Path:
    """Return the path of a note about a folder, which is not in it: it is no change there."""
    return folder.with_name(f"{folder.name}.{name}")


def context() -> multiprocessing.context.ForkServerContext:
    """Return the way to start processes."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(list(PRELOADED))
    return made


def _exit_code(process: BaseProcess) -> int | None:
    with ASKING:
        return process.exitcode


def _changes(folder: Path) -> int:
    return beside(folder, "changes").stat().st_size


def _noted(folder: Path, name: str) -> list[str]:
    path = beside(folder, name)
    return path.read_text().splitlines() if path.exists() else []


def _work(line: str, folder: str, environment: dict[str, str], death: Death | None) -> None:
    """Be the command's first process, which leads the group of all its processes."""
    os.setpgid(0, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    with (
        open("said", "w") as said,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        _watch(Path(folder), death)
        _fork_cells(functools.partial(_cell, os.getpid(), Path(folder), death, environment))
        from comptrust.cli.main import main

        main(line.split())


def _fork_cells(cell: functools.partial[None]) -> None:
    """Let a sweep fork its cells from the same server, with everything imported; the command has
    one already, and starts none.
    """
    from comptrust.sweep import engines

    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
    # type: ignore[assignment]
    engines.multiprocessing = SimpleNamespace(get_context=lambda kind: context())
    engines._serve = cell


def _cell(
    leader: int,
    folder: Path,
    death: Death | None,
    environment: dict[str, str],
    task: Task,
    answer: Connection,
) -> None:
    """Be the process of a sweep's cell; dead cells are begun anew in another one, which must
    live."""
    from comptrust.sweep.cell import carry_out

    with contextlib.suppress(ProcessLookupError):
        os.setpgid(0, leader)
    os.environ.clear()
    os.environ.update(environment)
    _watch(folder, death)
    answer.send(carry_out(task))


def _watch(folder: Path, death: Death | None) -> None:
    """Count changes below the folder, die before the one it was told, and note what the model is
    asked and answers.
    """
    counter = os.open(beside(folder, "changes"), os.O_WRONLY | os.O_APPEND)
    below = f"{os.path.realpath(folder)}/"

    def count(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(args[0], str | bytes) or not (args[2] or 0) & WRITING:
                return
        elif event not in CHANGES:
            return
        if not os.path.abspath(os.fsdecode(args[0])).startswith(below):
            return
        os.write(counter, b".")
        if death and death.later is None and os.fstat(counter).st_size == death.at_change:
            os.kill(os.getpid(), signal.SIGKILL) if death.alone else os.killpg(0, signal.SIGKILL)

    sys.addaudithook(count)
    _listen(folder)


def _listen(folder: Path) -> None:
    from comptrust.models.backends.hf import Hf
    from comptrust.records import Generation, Prompt

    answer, build = Hf.answer, Hf.__init__

    def built(self: Any, path: Path, **options: Any) -> None:
        # a model that compression handed on has the name of the folder it was first saved in
        self.checkpoint = path.name
        build(self, path, **options)

    def noted(self: Any, prompts: Sequence[Prompt]) -> Any:
        _append(
            beside(folder, "asked"),
            json.dumps([f"{prompt.dimension}/{prompt.id}" for prompt in prompts]),
        )
        one: Generation
        for one in answer(self, prompts):
            _append(
                beside(folder, "given"),
                f"{self.checkpoint}:{one.dimension}/{one.id}",
            )
            yield one

    Hf.answer, Hf.__init__ = noted, built  # type: ignore[method-assign]


def _append(path: Path, line: str) -> None:
    """Add a line in one write, which a kill leaves whole."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)
