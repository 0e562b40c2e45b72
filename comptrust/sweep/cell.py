"""One cell, and the process that carries it out at most once."""

import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from comptrust import config, crashes, digests, locks, process, progress
from comptrust.errors import ServiceError, UserError
from comptrust.gate.policy import Policy
from comptrust.models import presets, prompting, sources
from comptrust.records import Recipe
from comptrust.sweep.sweep_file import SweepFile
from comptrust.tracking import registry, runs, store, sweeps
from comptrust.tracking.sweeps import Outcome
from comptrust.workflow import job

SECONDS_BETWEEN_REPORTS = 10


@dataclass(frozen=True)
class Cell:
    """One recipe on one suite, and what it will take."""

    recipe: Recipe
    key: str
    """SHA-256 of recipe, model files (wherever they are), suite and code."""
    seconds: float | None
    """Estimated duration."""
    basis: str
    """What the seconds were estimated from."""
    bytes: float | None
    """On disk: the checkpoint in the cache and again in the artifact store, and the answers."""


class Work(Protocol):
    """What a process of an engine does once."""

    @property
    def key(self) -> str:
        """SHA-256; no two processes do the same at once."""

    @property
    def name(self) -> str:
        """What it is, in a few characters."""

    @property
    def settings(self) -> Mapping[str, str]:
        """Environment of the process."""

    def done(self) -> Outcome | None:
        """Return the outcome if it was done before."""

    def work(self, began: float) -> Outcome:
        """Do it; `began` is when the process began."""


@dataclass(frozen=True)
class Task:
    """What a process needs for a cell: a pickle, never logged, as a setting may be a credential."""

    cell: Cell
    file: SweepFile
    """Says which suite to load on the machine that runs the cell."""
    suite_digest: str
    """Of the driver's suite; a machine that loads another one refuses the cell."""
    policy: Policy
    parent: str
    """Id of the sweep's run."""
    driver: str
    """Id of the driver that hands the cell out; a driver ends only its own runs."""
    settings: Mapping[str, str]
    """Environment of the process: where runs, artifacts and cache are, and how many threads."""
    code: str
    """Digest of the driver's code; a machine with other code refuses the cell."""
    only_compress: bool = False
    """Make the checkpoint and put it into the cache, for another process that answers."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """What the process that made the checkpoint returned."""
    dense_is_done: bool = True
    """Whether the dense model's answers are there; if not, another cell is making them."""

    @property
    def key(self) -> str:
        """That of the cell."""
        return self.cell.key

    @property
    def name(self) -> str:
        """The recipe in a few characters."""
        return self.cell.recipe.slug

    def done(self) -> Outcome | None:
        """Return the outcome if another sweep has finished the cell."""
        return sweeps.finished({sweeps.CELL: self.key}).get(self.key)

    def work(self, began: float) -> Outcome:
        """Carry out the cell's job."""
        return _work(self, began)


def ended(cell: Cell, outcome: Outcome) -> dict[str, Any]:
    """Return how a cell ended, as cells.json and the JSON result say it."""
    names = ("key", "state", "run_id", "version", "verdict", "seconds", "reason")
    fields = {name: getattr(outcome, name) for name in names}
    return {"model": cell.recipe.base_model, "recipe": cell.recipe.slug} | fields


def carry_out(task: Work) -> Outcome:
    """Do the work, unless it is finished, in a fresh process; every error becomes an outcome."""
    process.prepare()
    os.environ.update(task.settings)
    os.environ.pop("MLFLOW_RUN_ID", None)  # that of the sweep, if it runs under `mlflow run`
    key, folder = task.key, config.cache_dir() / "cells"
    try:
        # This imports MLflow and opens the store, as every run does: not an overhead of the sweep.
        runs.client()
        began = time.monotonic()
        with locks.alone(folder / f"{key}.lock"), _output_in(folder / f"{key}.log"):
            # Another process may have finished it while we waited for the lock.
            if done := task.done():
                return done
            # We hold the lock, so a run of this cell that is still open has lost its process.
            sweeps.abandon(
                key,
                reason="The process exited without reporting (killed, or the machine went down).",
            )
            return task.work(began)
    except Exception as error:
        return _failed(key, error)


def _failed(key: str, error: Exception, *, run_id: str | None = None, prompts: int = 0) -> Outcome:
    reason, code = crashes.explain(error, redact=store.redacted)
    return Outcome(key, "failed", run_id, reason=reason, exit_code=code, prompts=prompts)


def _work(task: Task, began: float) -> Outcome:
    key = task.cell.key
    run_id = sweeps.begin(task.parent, key, name=task.cell.recipe.slug, driver=task.driver)
    os.environ["MLFLOW_RUN_ID"] = run_id  # the job adopts this run instead of starting its own
    report = _Report(run_id)
    work_began = time.monotonic()
    try:
        if task.only_compress:
            measured = job.compress(_job(task), say=say)
            return Outcome(key, "compressed", run_id, measured=measured)
        with progress.watched(report):
            result = job.run(_job(task), say=say)
        seconds = time.monotonic() - work_began
        with runs.service():
            runs.client().log_metric(run_id, runs.PROMPTS, report.prompts)
    except (KeyboardInterrupt, SystemExit):
        runs.end(run_id, status="KILLED", reason="The sweep was stopped.")
        raise
    except job.DenseNotReady as error:
        runs.end(run_id, status="KILLED", reason=str(error))
        return Outcome(key, "waiting", run_id, prompts=report.prompts, reason=str(error))
    except Exception as error:
        say(store.redacted("".join(traceback.format_exception(error))))
        outcome = _failed(key, error, run_id=run_id, prompts=report.prompts)
        runs.end(run_id, status="FAILED", reason=outcome.reason)
        return outcome
    return Outcome(
        key,
        "done",
        run_id,
        result.version.ref,
        result.verdict.outcome,
        seconds,
        overhead=time.monotonic() - began - seconds,
        prompts=report.prompts,
    )


def _job(task: Task) -> job.Job:
    """Load what the cell needs on this machine and check that it is what the driver saw."""
    from comptrust.trust import suite as suites

    recipe, file = task.cell.recipe, task.file
    check_code(task.code)
    suite = suites.for_run(
        file.suite,
        dimensions=file.dimensions,
        scoring=file.scoring,
        limit=file.limit,
        stop=file.stop,
    )
    if suite.digest != task.suite_digest:
        raise UserError(
            f"Suite '{file.suite}' has different prompts on this machine. Put the same data on"
            " every machine."
        )
    model = registry.local_model(recipe.base_model)
    source = sources.resolve(model)
    prompting.check(
        source.path,
        suite.prompts,
        template=file.template or presets.template(recipe.base_model),
        arguments=file.template_args,
    )
    return job.Job(
        recipe=recipe.model_copy(update={"base_model": model}),
        source=source,
        suite=suite,
        suite_name=file.suite,
        policy=task.policy,
        asking=file.asking,
        measured=task.measured,
        dense_elsewhere=not task.dense_is_done,
        stop=file.stop,
    )


def check_code(code: str) -> None:
    """Raise ServiceError unless this machine runs the code of whoever handed out the work."""
    if digests.of_code() != code:
        raise ServiceError(
            "This machine runs a different version of comptrust from the one that handed out the"
            " work. Install the same version."
        )


class _Report:
    """Counts answered prompts in a tag, for the driver; a metric would keep every value."""

    def __init__(self, run_id: str) -> None:
        self.run_id, self.prompts, self.sent = run_id, 0, time.monotonic()

    def __call__(self) -> None:
        self.prompts += 1
        if time.monotonic() - self.sent >= SECONDS_BETWEEN_REPORTS:
            self.sent = time.monotonic()
            with runs.service():
                runs.client().set_tag(self.run_id, sweeps.SO_FAR, str(self.prompts))


@contextmanager
def _output_in(path: Path) -> Iterator[None]:
    """Send what libraries, also those in C, and child processes print to the cell's own file."""
    sys.stdout.flush()
    sys.stderr.flush()
    originals = [(number, os.dup(number)) for number in (1, 2)]
    with open(path, "a") as log:
        for number, _ in originals:
            os.dup2(log.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, original in originals:
                os.dup2(original, number)
                os.close(original)


def say(line: str) -> None:
    """Print a line into the log of the work."""
    print(line, file=sys.stderr, flush=True)
