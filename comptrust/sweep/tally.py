"""What is known about a sweep under way: outcomes, answered prompts, and the time left."""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from comptrust.sweep.cell import Cell, Outcome
from comptrust.sweep.plan import Estimate, Sweep
from comptrust.sweep.view import Progress, Rate
from comptrust.tracking import sweeps


@dataclass(kw_only=True)
class Tally:
    """Counts of one sweep; dictionaries are by the cell's key."""

    sweep: Sweep
    estimates: Mapping[str, Estimate]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Cells that have ended for good."""
    running: dict[str, int] = field(default_factory=dict)
    """Prompts that each cell at work has answered."""
    answered: dict[str, int] = field(default_factory=dict)
    """Prompts answered during this sweep, also by cells that have ended or were lost."""
    rate: Rate = field(default_factory=Rate)

    @property
    def open_cells(self) -> list[Cell]:
        """The cells without an outcome."""
        return [cell for cell in self.sweep.cells if cell.key not in self.outcomes]

    def add_finished(self, done: Mapping[str, sweeps.Done]) -> None:
        """Add cells that were finished before this sweep started."""
        for key, cell in done.items():
            self.outcomes[key] = Outcome(
                key, "done", cell.run_id, cell.version, cell.verdict, cell.seconds
            )

    def add(self, outcome: Outcome) -> None:
        """Add the final outcome of a cell."""
        self.outcomes[outcome.key] = outcome
        self._count(outcome.key, outcome.prompts)

    def update(self, running: Mapping[str, int]) -> None:
        """Replace the counts of the cells at work."""
        self.running = dict(running)
        for key, prompts in running.items():
            self._count(key, prompts)

    def progress(self) -> Progress:
        """Return how far the sweep is."""
        states = [outcome.state for outcome in self.outcomes.values()]
        done = states.count("done")
        return Progress(
            total=len(self.sweep.cells),
            done=done,
            running=len(self.running),
            failed=len(states) - done,
            prompts_per_second=self.rate.add(sum(self.answered.values()), now=time.monotonic()),
            seconds_left=self._seconds_left(),
        )

    def _count(self, key: str, prompts: int) -> None:
        # never down: a cell that starts again after a loss counts from 0
        self.answered[key] = max(prompts, self.answered.get(key, 0))

    def _seconds_left(self) -> float | None:
        """Return the seconds until the end if as many cells as now keep running side by side.

        An open cell takes as long as the finished cells of its method did, else as estimated; None
        if that is not known for every cell.
        """
        means = self._mean_seconds()
        left = 0.0
        for cell in self.open_cells:
            seconds = means.get(cell.recipe.method, self.estimates[cell.key].seconds)
            if seconds is None:
                return None
            done = self.running.get(cell.key, 0) / cell.questions.n_prompts
            left += seconds * (1 - done)
        return max(0.0, left) / max(1, len(self.running))

    def _mean_seconds(self) -> dict[str, float]:
        """Return method -> mean duration of its finished cells."""
        seconds: dict[str, list[float]] = defaultdict(list)
        for cell in self.sweep.cells:
            outcome = self.outcomes.get(cell.key)
            if outcome and outcome.seconds:
                seconds[cell.recipe.method].append(outcome.seconds)
        return {method: fmean(values) for method, values in seconds.items()}
