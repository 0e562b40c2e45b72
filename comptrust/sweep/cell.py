"""One cell: its content-hashed key, and the process that carries it out at most once, whoever asks
and however often.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comptrust import config, digests, locks, process, progress
from comptrust.errors import ComptrustError, ServiceError, UserError
from comptrust.gate.policy import Policy
from comptrust.models import sources
from comptrust.records import Recipe, Record, Scoring
from comptrust.tracking import registry, runs, sweeps
from comptrust.tracking.store import redacted
from comptrust.workflow import job, signatures
from comptrust.workflow.models import local_model

State = Literal["done", "failed", "lost"]
SECONDS_BETWEEN_REPORTS = 10


class Questions(Record):
    """How to load the suite on whatever machine the cell lands."""

    suite: str
    dimensions: tuple[str, ...] | None
    limit: int | None
    scoring: Scoring
    digest: str
    """Of the loaded suite; another one on that machine is refused."""
    n_prompts: int


class Cell(Record):
    """One recipe on one suite."""

    recipe: Recipe
    identity: str
    """Digest or commit of the dense model's files."""
    questions: Questions

    @property
    def key(self) -> str:
        """SHA-256 of recipe, model files, suite and code: where a folder lies does not matter, what
        is in it does.
        """
        name = registry.model_name(self.recipe.base_model, self.identity)
        recipe = self.recipe.model_copy(update={"base_model": name, "revision": self.identity})
        return digests.of_value(
            [recipe.digest_of_fields(), self.questions.digest, digests.of_code()]
        )


@dataclass(frozen=True)
class Task:
    """What a process needs to carry out a cell. It travels as a pickle and is never logged: a
    setting may hold a credential.
    """

    cell: Cell
    key: str
    """The cell's key, by the driver's code."""
    policy: Policy
    batch_size: int | None
    threads: int
    parent: str
    """Id of the sweep's run."""
    driver: str
    """Who hands the cell out: names the runs that this driver may end."""
    settings: Mapping[str, str]
    """Environment of the process: where runs, artifacts and cache are."""
    code: str
    """Digest of the driver's code; other code on that machine is refused."""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    key: str
    state: State
    run_id: str | None = None
    version: str | None = None
    verdict: str | None = None
    seconds: float | None = None
    """Of the work itself, as `comptrust run` does it."""
    overhead: float = 0.0
    """Seconds of this process beside the work: locking, looking up, opening the run, reporting."""
    prompts: int = 0
    reason: str = ""
    exit_code: int = 0


def carry_out(task: Task) -> Outcome:
    """Do the cell unless it is finished already; the first step of a fresh process. Errors become
    an outcome with their reason.
    """
    process.prepare()
    os.environ.update(
        task.settings, OMP_NUM_THREADS=str(task.threads), MKL_NUM_THREADS=str(task.threads)
    )
    os.environ.pop("MLFLOW_RUN_ID", None)
    key = task.key
    folder = config.cache_dir() / "cells"
    try:
        # imports MLflow and opens the store, as every run does; what follows is the sweep's own
        runs.client()
        began = time.monotonic()
        with locks.alone(folder / f"{key}.lock"), _output_in(folder / f"{key}.log"):
            if done := sweeps.finished({sweeps.CELL: key}).get(key):
                return Outcome(key, "done", done.run_id, done.version, done.verdict, done.seconds)
            sweeps.abandon(
                key, reason="Its process ended without a word: killed, or its machine was lost."
            )
            return _work(task, key, began)
    except ComptrustError as error:
        return Outcome(key, "failed", reason=str(error), exit_code=error.exit_code)


def _work(task: Task, key: str, began: float) -> Outcome:
    run_id = sweeps.begin(task.parent, key, name=task.cell.recipe.slug, driver=task.driver)
    os.environ["MLFLOW_RUN_ID"] = run_id
    report = _Report(run_id)
    at_work = time.monotonic()
    try:
        with progress.watched(report):
            result = job.run(_job(task), say=_say)
        worked = time.monotonic() - at_work
        with runs.service():
            runs.client().log_metric(run_id, sweeps.PROMPTS, report.prompts)
        return Outcome(
            key,
            "done",
            run_id,
            result.version.ref,
            result.verdict.outcome,
            worked,
            overhead=time.monotonic() - began - worked,
            prompts=report.prompts,
        )
    except (KeyboardInterrupt, SystemExit):
        sweeps.end(run_id, status="KILLED", reason="The sweep was stopped.")
        raise
    except Exception as error:
        reason = (
            str(error)
            if isinstance(error, ComptrustError)
            else f"{type(error).__name__}: {' '.join(str(error).split())}"
        )
        reason = redacted(reason)
        _say(redacted(traceback.format_exc()))
        sweeps.end(run_id, status="FAILED", reason=reason)
        code = error.exit_code if isinstance(error, ComptrustError) else ComptrustError.exit_code
        return Outcome(key, "failed", run_id, reason=reason, exit_code=code, prompts=report.prompts)


def _job(task: Task) -> job.Job:
    """Load what the cell needs here and make sure that it is what the driver saw."""
    from comptrust.trust import suite as suites

    cell, asked = task.cell, task.cell.questions
    if digests.of_code() != task.code:
        raise ServiceError(
            "This machine runs another version of comptrust than the one that started the sweep."
            " Install the same."
        )
    suite = suites.load(
        asked.suite, dimensions=asked.dimensions, scoring=asked.scoring, limit=asked.limit
    )
    if suite.digest != asked.digest:
        raise UserError(
            f"Suite '{asked.suite}' holds other prompts on this machine. Put the same data on every"
            " machine."
        )
    recipe = cell.recipe.model_copy(update={"base_model": local_model(cell.recipe.base_model)})
    return job.Job(
        recipe=recipe,
        source=sources.resolve(recipe.base_model),
        suite=suite,
        suite_name=asked.suite,
        policy=task.policy,
        signer=signatures.Signer.load(),
        batch_size=task.batch_size,
    )


class _Report:
    """Counts answered prompts and writes the count to a tag now and then, for the driver; a tag,
    since a metric keeps every value.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id, self.prompts, self.sent = run_id, 0, time.monotonic()

    def __call__(self) -> None:
        self.prompts += 1
        if time.monotonic() - self.sent >= SECONDS_BETWEEN_REPORTS:
            self.send()

    def send(self) -> None:
        self.sent = time.monotonic()
        with runs.service():
            runs.client().set_tag(self.run_id, sweeps.SO_FAR, str(self.prompts))


@contextmanager
def _output_in(path: Path) -> Iterator[None]:
    """Send what libraries print to the cell's own file, so that it tears no live view apart."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    with open(path, "a") as log:
        for number, _ in kept:
            os.dup2(log.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, own in kept:
                os.dup2(own, number)
                os.close(own)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
