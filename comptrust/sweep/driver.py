"""The driver: hands cells to an engine, starts lost ones again, shows and logs the progress."""

import json
import time
import uuid
from collections import Counter
from dataclasses import dataclass

from comptrust import digests
from comptrust.sweep import plan
from comptrust.sweep.cell import Cell, Outcome, Task, ended
from comptrust.sweep.engines import Engine
from comptrust.sweep.tally import Tally, View
from comptrust.tracking import runs, sweeps

SECONDS_BETWEEN_POLLS = 5.0
MIN_SECONDS_BETWEEN_METRICS, SHARE_BETWEEN_METRICS = 15.0, 0.01
"""Metrics are logged every 1% of the time so far, so that a long sweep logs hundreds of values and
not tens of thousands."""


@dataclass(frozen=True)
class Report:
    """How a sweep ended."""

    parent: str
    """Id of the parent run."""
    outcomes: dict[str, Outcome]
    """By key, in the order of the cells."""
    before: frozenset[str]
    """Keys of the cells that were finished before this sweep started."""
    seconds: float

    @property
    def failed(self) -> list[Outcome]:
        """The cells that failed or were lost."""
        return [outcome for outcome in self.outcomes.values() if outcome.state != "done"]


def drive(sweep: plan.Sweep, engine: Engine, *, view: View) -> Report:
    """Carry out the cells that are not finished yet.

    When this is interrupted, or fails, every cell at work is stopped and its run is closed.
    """
    driver = _Driver(sweep, engine, view)
    tags = {"sweep": sweep.file.name, sweeps.SWEEP: sweep.digest}
    with runs.start(
        sweep.file.name, resume=sweeps.parent_to_resume(sweep.digest), tags=tags
    ) as parent:
        try:
            driver.drive(parent)
        except BaseException as error:
            engine.close()
            reason = f"The sweep was stopped ({type(error).__name__})."
            for cell in sweep.cells:
                sweeps.abandon(cell.key, driver=driver.id, reason=reason, status="KILLED")
            raise
        outcomes = driver.tally.outcomes
        rows = [ended(cell, outcomes[cell.key]) for cell in sweep.cells]
        parent.text("cells.json", json.dumps(rows, indent=2))
        return Report(parent.id, outcomes, driver.before, time.monotonic() - driver.began)


class _Driver:
    def __init__(self, sweep: plan.Sweep, engine: Engine, view: View) -> None:
        """Check, before any work, that there is room for the cells that are not finished."""
        self.sweep, self.engine, self.view = sweep, engine, view
        nodes = engine.nodes()
        self.requests = plan.requests(sweep, nodes)
        finished = plan.done_before(sweep)
        self.before = frozenset(finished)
        plan.check_disk(sweep, [cell for cell in sweep.cells if cell.key not in finished])
        self.settings = plan.settings(nodes, runs.experiment_id())
        self.tally = Tally(sweep=sweep, estimates=plan.estimates(sweep), outcomes=finished)
        self.dense = {
            cell.recipe.base_model: cell.key
            for cell in reversed(sweep.cells)
            if cell.recipe.method == "none"
        }
        """Model -> key of its dense cell, the first one."""
        self.id = uuid.uuid4().hex
        self.attempts = Counter[str]()
        """Key -> how often the cell was handed to the engine."""
        self.started = set[str]()
        """Keys of the cells that the engine has."""
        self.polled = self.logged = 0.0
        self.began = time.monotonic()

    def drive(self, parent: runs.Run) -> None:
        self.parent = parent
        if self.before:
            self._show(f"{len(self.before)} cells were finished before")
        while self.tally.open_cells:
            self._start_cells()
            for outcome in self.engine.wait(SECONDS_BETWEEN_POLLS):
                self._end_cell(outcome)
            self._poll()
        self._log(force=True)

    def _start_cells(self) -> None:
        """Hand over every cell whose dense model is done."""
        for cell in [cell for cell in self.tally.open_cells if cell.key not in self.started]:
            # A compressed model is compared with its dense source, which all its cells share.
            outcome = self.tally.outcomes.get(self.dense[cell.recipe.base_model])
            if cell.recipe.method == "none" or (outcome and outcome.state == "done"):
                self._start(cell)
            elif outcome:
                self._end_cell(
                    Outcome(
                        cell.key,
                        "failed",
                        reason="Not started, because its dense model failed.",
                        exit_code=outcome.exit_code,
                    )
                )

    def _start(self, cell: Cell) -> None:
        self.started.add(cell.key)
        self.attempts[cell.key] += 1
        request = self.requests[cell.recipe.base_model]
        self.engine.submit(
            Task(
                cell=cell,
                key=cell.key,
                policy=self.sweep.policy,
                batch_size=self.sweep.file.batch_size,
                threads=request.cpus,
                parent=self.parent.id,
                driver=self.id,
                settings=self.settings,
                code=digests.of_code(),
            ),
            request,
        )

    def _end_cell(self, outcome: Outcome) -> None:
        """Take an outcome; a lost cell is open again until its retries are used up."""
        cell = next(cell for cell in self.sweep.cells if cell.key == outcome.key)
        self.started.discard(outcome.key)
        self.tally.running.pop(outcome.key, None)
        name = f"{cell.recipe.base_model} {cell.recipe.slug}"
        if outcome.state == "lost":
            # its process could not close its own run
            sweeps.abandon(outcome.key, driver=self.id, reason=outcome.reason)
            if self.attempts[outcome.key] <= self.sweep.file.resources.retries:
                self._show(f"lost, restarting: {name}: {outcome.reason}")
                return
        self.tally.outcomes[outcome.key] = outcome
        self.tally.count({outcome.key: outcome.prompts})
        self._show(f"{outcome.state}: {name}: {outcome.verdict or outcome.reason}")
        self._log(force=True)

    def _poll(self) -> None:
        """Read from the tracking store how far the cells at work are, and show it."""
        if time.monotonic() - self.polled >= SECONDS_BETWEEN_POLLS:
            self.polled = time.monotonic()
            counts = sweeps.running(self.parent.id)
            self.tally.running = {key: counts[key] for key in counts if key in self.started}
            self.tally.count(self.tally.running)
            self._show()
            self._log()

    def _show(self, event: str = "") -> None:
        self.view.show(self.tally.progress(), event)

    def _log(self, *, force: bool = False) -> None:
        now = time.monotonic()
        pause = max(MIN_SECONDS_BETWEEN_METRICS, (now - self.began) * SHARE_BETWEEN_METRICS)
        if force or now - self.logged >= pause:
            self.logged = now
            self.parent.metrics(self.tally.progress().metrics())
