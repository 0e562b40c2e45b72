"""The driver: hands cells to an engine, starts lost ones again, shows and logs the progress."""

import json
import time
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from contextlib import closing
from statistics import fmean
from typing import TextIO

from comptrust import digests
from comptrust.sweep import plan
from comptrust.sweep.cell import Cell, Task, ended
from comptrust.sweep.engines import Engine
from comptrust.sweep.output import Progress, View, rate
from comptrust.text_tables import counted
from comptrust.tracking import runs, sweeps
from comptrust.tracking.sweeps import Outcome

SECONDS_BETWEEN_POLLS = 5.0
MIN_SECONDS_BETWEEN_METRICS, SHARE_BETWEEN_METRICS = 15.0, 0.01
"""Metrics are logged every 1% of the time so far: hundreds of values even of a long sweep."""
GPUS = "CUDA_VISIBLE_DEVICES"


class Driver:
    """Carries out the cells of a sweep that are not finished yet, and knows how far they are."""

    def __init__(self, sweep: plan.Sweep, engine: Engine, *, stream: TextIO | None = None) -> None:
        """Check, before any work, that there is room for the cells that are not finished."""
        self.sweep, self.engine = sweep, engine
        nodes = engine.nodes()
        self.requests = {
            name: plan.request(known, sweep, nodes) for name, known in sweep.facts.items()
        }
        compress = sweep.file.resources.compress
        self.to_compress = {
            name: plan.request(known, sweep, nodes, needs=compress)
            for name, known in sweep.facts.items()
            if compress
        }
        """Model -> what compressing it needs, where that is a process of its own."""
        plan.check_disk(sweep)
        self.settings = plan.settings(nodes, runs.experiment_id())
        self.dense = {
            cell.recipe.base_model: cell.key
            for cell in reversed(sweep.cells)
            if cell.recipe.method == "none"
        }
        """Model -> key of its dense cell, the first one."""
        self.id = uuid.uuid4().hex
        self.outcomes = dict(sweep.finished)
        """Key -> outcome, of the cells that have ended for good."""
        self.losses = Counter[str]()
        """Key -> how often the cell was lost."""
        self.compressed: dict[str, Mapping[str, float]] = {}
        """Key -> metrics of the checkpoint, of the cells that were compressed apart."""
        self.waiting = set[str]()
        """Keys of the cells that have all answers but those of their dense model."""
        self.started = set[str]()
        """Keys of the cells that the engine has."""
        self.running: dict[str, int] = {}
        """Key -> prompts answered so far, of the cells at work."""
        self.answered = Counter[str]()
        """Key -> prompts answered during this sweep, also by cells that have ended or were lost."""
        self.counts = deque[tuple[float, int]]()
        """The last minute of (time, prompts answered)."""
        self.polled = self.logged = 0.0
        self.began = time.monotonic()
        self.view = View(total=len(sweep.cells), stream=stream)

    @property
    def failed(self) -> list[Outcome]:
        """The cells that failed or were lost."""
        return [outcome for outcome in self.outcomes.values() if outcome.state != "done"]

    @property
    def open_cells(self) -> list[Cell]:
        """The cells without an outcome."""
        return [cell for cell in self.sweep.cells if cell.key not in self.outcomes]

    def drive(self) -> None:
        """Carry out what is not finished; if interrupted, stop all cells, close their runs."""
        name, digest = self.sweep.file.name, self.sweep.digest
        tags = {"sweep": name, sweeps.SWEEP: digest}
        run = runs.start(name, resume=sweeps.parent_to_resume(digest), tags=tags)
        with closing(self.view.bar), run as self.parent:
            try:
                if self.outcomes:
                    self._report(f"finished before: {counted(len(self.outcomes), 'cell')}")
                while self.open_cells:
                    self._start_cells()
                    for outcome in self.engine.wait(SECONDS_BETWEEN_POLLS):
                        self._end_cell(outcome)
                    self._poll()
                self._report(log=True)
            except BaseException as error:
                self.engine.close()
                reason = f"The sweep was stopped ({type(error).__name__})."
                for cell in self.sweep.cells:
                    sweeps.abandon(cell.key, driver=self.id, reason=reason, status="KILLED")
                raise
            rows = [ended(cell, self.outcomes[cell.key]) for cell in self.sweep.cells]
            self.parent.text("cells.json", json.dumps(rows, indent=2))
            self.seconds = time.monotonic() - self.began

    def _start_cells(self) -> None:
        for cell in [cell for cell in self.open_cells if cell.key not in self.started]:
            # A compressed model is compared with its dense source, which all its cells share.
            dense = self.dense.get(cell.recipe.base_model)
            outcome = self.outcomes.get(dense) if dense else None
            done = dense is None or (outcome is not None and outcome.state == "done")
            beside = self.engine.parallel and outcome is None and cell.key not in self.waiting
            if cell.recipe.method == "none" or done or beside:
                self._start(cell, dense_is_done=done)
            elif outcome:
                self._end_cell(
                    Outcome(
                        cell.key,
                        "failed",
                        reason="Not started, because its dense model failed.",
                        exit_code=outcome.exit_code,
                    )
                )

    def _start(self, cell: Cell, *, dense_is_done: bool) -> None:
        self.started.add(cell.key)
        model, request = cell.recipe.base_model, self.requests[cell.recipe.base_model]
        only_compress = False
        if cell.recipe.method != "none" and cell.key not in self.compressed:
            only_compress = model in self.to_compress
            request = self.to_compress.get(model, request)
        settings = self.settings | dict.fromkeys(plan.THREADS, str(request.cpus))
        if not request.gpus and self.sweep.file.resources.gpus:
            settings[GPUS] = ""  # they belong to the cells that asked for them
        self.engine.submit(
            Task(
                cell=cell,
                file=self.sweep.file,
                suite_digest=self.sweep.suite.digest,
                policy=self.sweep.policy,
                parent=self.parent.id,
                driver=self.id,
                settings=settings,
                code=digests.of_code(),
                only_compress=only_compress,
                measured=self.compressed.get(cell.key, {}),
                dense_is_done=dense_is_done,
            ),
            request,
        )

    def _end_cell(self, outcome: Outcome) -> None:
        """Take an outcome; a lost cell is open again until its retries are used up.

        One that was compressed, or waits for its dense model, is open again too.
        """
        cell = next(cell for cell in self.sweep.cells if cell.key == outcome.key)
        self.started.discard(outcome.key)
        self.running.pop(outcome.key, None)
        name = f"{cell.recipe.base_model} {cell.recipe.slug}"
        if outcome.state == "lost":
            # its process could not close its own run
            sweeps.abandon(outcome.key, driver=self.id, reason=outcome.reason)
            self.losses[outcome.key] += 1
            if self.losses[outcome.key] <= self.sweep.file.resources.retries:
                self._report(f"lost, restarting: {name}: {outcome.reason}")
                return
        self.answered |= Counter({outcome.key: outcome.prompts})
        if outcome.state == "compressed":
            self.compressed[outcome.key] = outcome.measured
            self._report(f"compressed: {name}")
            return
        if outcome.state == "waiting":
            self.waiting.add(outcome.key)
            self._report(f"waiting for its dense model: {name}")
            return
        self.outcomes[outcome.key] = outcome
        self._report(f"{outcome.state}: {name}: {outcome.verdict or outcome.reason}", log=True)

    def _poll(self) -> None:
        """Read from the tracking store how far the cells at work are, and show it."""
        if time.monotonic() - self.polled >= SECONDS_BETWEEN_POLLS:
            self.polled = time.monotonic()
            counts = sweeps.running(self.parent.id)
            self.running = {key: counts[key] for key in counts if key in self.started}
            # The larger of both numbers: a cell that starts again after a loss counts from 0.
            self.answered |= Counter(self.running)
            self._report()

    def _report(self, event: str = "", *, log: bool = False) -> None:
        """Show the progress, and log it as metrics if that is due or `log` is set."""
        now = time.monotonic()
        progress = Progress(
            total=len(self.sweep.cells),
            done=len(self.outcomes) - len(self.failed),
            running=len(self.running),
            failed=len(self.failed),
            prompts_per_second=rate(self.counts, self.answered.total(), now=now),
            seconds_left=self._seconds_left(),
        )
        self.view.show(progress, event)
        pause = max(MIN_SECONDS_BETWEEN_METRICS, (now - self.began) * SHARE_BETWEEN_METRICS)
        if log or now - self.logged >= pause:
            self.logged = now
            self.parent.metrics(progress.metrics())

    def _seconds_left(self) -> float | None:
        """Return the seconds until the end, at the pace of finished cells; None if not known."""
        durations: dict[str, list[float]] = defaultdict(list)
        for cell in self.sweep.cells:
            if (outcome := self.outcomes.get(cell.key)) and outcome.seconds:
                durations[cell.recipe.method].append(outcome.seconds)
        means = {method: fmean(values) for method, values in durations.items()}
        left = 0.0
        for cell in self.open_cells:
            seconds = means.get(cell.recipe.method, cell.seconds)
            if seconds is None:
                return None
            left += seconds * (1 - self.running.get(cell.key, 0) / len(self.sweep.suite.prompts))
        return max(0.0, left) / max(1, len(self.running))
