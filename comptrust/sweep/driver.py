"""The driver: hands cells to an engine when their dense model is done, begins lost ones anew, and
shows and logs how far it is.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from comptrust import digests
from comptrust.sweep import plan
from comptrust.sweep.cell import Cell, Outcome, Task
from comptrust.sweep.engines import Ask, Engine
from comptrust.sweep.plan import Estimate, Sweep
from comptrust.sweep.view import Rate, State, View
from comptrust.tracking import runs, sweeps

SECONDS_BETWEEN_POLLS = 5.0
SECONDS_BETWEEN_METRICS, SHARE_BETWEEN_METRICS = 15.0, 0.01
"""The longer a sweep, the rarer its figures are logged: some hundred times in all, not some ten
thousand.
"""


@dataclass(frozen=True)
class Report:
    """What became of a sweep."""

    parent: str
    """Id of the parent run."""
    outcomes: dict[str, Outcome]
    """By key, in the order of the cells."""
    before: frozenset[str]
    """Keys that were finished before this sweep started."""
    seconds: float

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes.values() if outcome.state != "done"]


def drive(sweep: Sweep, engine: Engine, *, view: View) -> Report:
    """Carry out what is not finished yet. KeyboardInterrupt and SystemExit stop every cell at work
    before they leave.
    """
    nodes = engine.nodes()
    asks = plan.ask(sweep, nodes)
    before = plan.done_before(sweep)
    plan.check_disk(sweep, [cell for cell in sweep.cells if cell.key not in before])
    settings = plan.settings(nodes, runs.experiment_id(runs.client()))
    tags = {"sweep": sweep.name, sweeps.SWEEP: sweep.digest}
    driver = uuid.uuid4().hex
    with runs.start(sweep.name, resume=sweeps.parent_to_resume(sweep.digest), tags=tags) as own:
        try:
            state = _Run(
                driver, sweep, engine, view, own, asks, settings, before, plan.estimates(sweep)
            )
            state.carry_on()
        except BaseException as error:
            engine.stop()
            for cell in sweep.cells:
                reason = f"The sweep was stopped ({type(error).__name__})."
                sweeps.abandon(cell.key, driver=driver, reason=reason, status="KILLED")
            raise
        own.text(
            "cells.json",
            json.dumps([_row(cell, state.outcomes[cell.key]) for cell in sweep.cells], indent=2),
        )
        return Report(own.id, state.outcomes, frozenset(before), time.monotonic() - state.began)


def _row(cell: Cell, outcome: Outcome) -> dict[str, object]:
    fields = ("key", "state", "run_id", "version", "verdict", "seconds", "reason")
    return {"model": cell.recipe.base_model, "recipe": cell.recipe.slug} | {
        name: getattr(outcome, name) for name in fields
    }


@dataclass
class _Run:
    """One sweep under way; the only state that changes."""

    driver: str
    sweep: Sweep
    engine: Engine
    view: View
    own: runs.Run
    asks: Mapping[str, Ask]
    settings: Mapping[str, str]
    before: Mapping[str, sweeps.Done]
    expected: Mapping[str, Estimate]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    started: dict[str, Cell] = field(default_factory=dict)
    """Handed to the engine and not ended."""
    answered: dict[str, int] = field(default_factory=dict)
    """Prompts of this sweep's cells so far."""
    running: dict[str, int] = field(default_factory=dict)
    polled: float = 0.0
    logged: float = 0.0

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.rate = Rate()
        self.outcomes = {
            key: Outcome(key, "done", done.run_id, done.version, done.verdict, done.seconds)
            for key, done in self.before.items()
        }

    def carry_on(self) -> None:
        """Go on until every cell has an outcome."""
        if self.before:
            self.view.event(f"{len(self.before)} cells were finished before", self.state())
        while len(self.outcomes) < len(self.sweep.cells):
            self._start()
            for outcome in self.engine.wait(SECONDS_BETWEEN_POLLS):
                self._ended(outcome)
            self._look()
        self._log(force=True)

    def state(self) -> State:
        """Return how far the sweep is."""
        ended = self.outcomes.values()
        rate = self.rate.add(sum(self.answered.values()), now=time.monotonic())
        return State(
            total=len(self.sweep.cells),
            done=sum(outcome.state == "done" for outcome in ended),
            running=len(self.running),
            failed=sum(outcome.state != "done" for outcome in ended),
            prompts_per_second=rate,
            seconds_left=self._left(),
        )

    def _start(self) -> None:
        """Hand over what may start; a cell whose dense model failed fails with it."""
        for cell in self.sweep.cells:
            if cell.key in self.outcomes or cell.key in self.started:
                continue
            dense = self.sweep.dense_of(cell)
            if dense is not None and dense.key not in self.outcomes:
                continue
            if dense is not None and self.outcomes[dense.key].state != "done":
                code = self.outcomes[dense.key].exit_code
                self._ended(
                    Outcome(
                        cell.key,
                        "failed",
                        reason="Not begun, because its dense model failed.",
                        exit_code=code,
                    )
                )
                continue
            self.started[cell.key] = cell
            self.attempts[cell.key] = self.attempts.get(cell.key, 0) + 1
            ask = self.asks[cell.recipe.base_model]
            task = Task(
                cell=cell,
                key=cell.key,
                policy=self.sweep.policy,
                batch_size=self.sweep.grid.file.batch_size,
                threads=ask.cpus,
                parent=self.own.id,
                driver=self.driver,
                settings=self.settings,
                code=digests.of_code(),
            )
            self.engine.submit(task, ask)

    def _ended(self, outcome: Outcome) -> None:
        cell = next(cell for cell in self.sweep.cells if cell.key == outcome.key)
        self.started.pop(outcome.key, None)
        self.running.pop(outcome.key, None)
        name = f"{cell.recipe.base_model} {cell.recipe.slug}"
        if outcome.state == "lost":
            sweeps.abandon(outcome.key, driver=self.driver, reason=outcome.reason)
            if self.attempts[outcome.key] <= self.sweep.grid.file.resources.retries:
                self.view.event(f"lost, begun anew: {name}: {outcome.reason}", self.state())
                return
        self.outcomes[outcome.key] = outcome
        self.answered[outcome.key] = max(self.answered.get(outcome.key, 0), outcome.prompts)
        said = outcome.verdict or outcome.reason
        self.view.event(f"{outcome.state}: {name}: {said}", self.state())
        self._log(force=True)

    def _look(self) -> None:
        """Ask the tracking store what is at work, and show it."""
        if time.monotonic() - self.polled < SECONDS_BETWEEN_POLLS:
            return
        self.polled = time.monotonic()
        self.running = {
            key: prompts
            for key, prompts in sweeps.running(self.own.id).items()
            if key in self.started
        }
        self.answered |= {
            key: max(prompts, self.answered.get(key, 0)) for key, prompts in self.running.items()
        }
        self.view.show(self.state())
        self._log()

    def _log(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if force or now - self.logged >= max(
            SECONDS_BETWEEN_METRICS, (now - self.began) * SHARE_BETWEEN_METRICS
        ):
            self.logged = now
            self.own.metrics(self.state().metrics())

    def _left(self) -> float | None:
        """Return the seconds until the end: what the open cells take, as those of their method did
        or as estimated, side by side as now.
        """
        measured: dict[str, list[float]] = defaultdict(list)
        for cell in self.sweep.cells:
            if (ended := self.outcomes.get(cell.key)) and ended.seconds:
                measured[cell.recipe.method].append(ended.seconds)
        means = {method: sum(seconds) / len(seconds) for method, seconds in measured.items()}
        open_cells = [cell for cell in self.sweep.cells if cell.key not in self.outcomes]
        times = [
            means.get(cell.recipe.method, self.expected[cell.key].seconds) for cell in open_cells
        ]
        if any(one is None for one in times):
            return None
        asked = [one for one in times if one is not None]
        done_parts = sum(
            one * self.running[cell.key] / cell.questions.n_prompts
            for cell, one in zip(open_cells, asked, strict=True)
            if cell.key in self.running
        )
        return max(0.0, sum(asked) - done_parts) / max(1, len(self.running))
