"""Who asks the candidates: this process one after another, or Ray's and Slurm's side by side."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, Self

from comptrust import digests
from comptrust.errors import Exit, ServiceError, UserError
from comptrust.search.candidate import Candidate, Task
from comptrust.sweep import engines, plan
from comptrust.sweep.engines import Capacity, Engine, Node
from comptrust.tracking import runs, sweeps

Say = Callable[[str], None]
SECONDS_BETWEEN_LOOKS = 5.0
RETRIES = 2
"""How often a candidate whose process died is started again."""


class Workers(Protocol):
    """Asks candidates; each has a finished run afterwards."""

    def ask(self, candidates: Sequence[Candidate]) -> None:
        """Ask them; raises UserError or ServiceError if one cannot be asked."""


def workers(
    address: str, *, at_once: int, weights: float, say: Say
) -> AbstractContextManager[Workers]:
    """Return who asks up to `at_once` candidates of a model of so many weights."""
    return Apart(address, at_once, weights, say) if at_once > 1 else nullcontext(Here(say))


class Here:
    """This process."""

    def __init__(self, say: Say) -> None:
        self.say = say

    def ask(self, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            candidate.ask(say=self.say)


class Apart:
    """A process for each candidate, where the address says."""

    def __init__(self, address: str, at_once: int, weights: float, say: Say) -> None:
        self.engine: Engine = engines.engine(address)
        self.say = say
        try:
            nodes = self.engine.nodes()
            self.needs = _needs(nodes, at_once, weights)
            self.settings = plan.settings(nodes, runs.experiment_id()) | dict.fromkeys(
                plan.THREADS, str(self.needs.cpus)
            )
        except BaseException:
            self.engine.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    def ask(self, candidates: Sequence[Candidate]) -> None:
        code = digests.of_code()
        tasks = {one.key: Task.of(one, settings=self.settings, code=code) for one in candidates}
        for task in tasks.values():
            self.engine.submit(task, self.needs)
        losses = Counter[str]()
        while tasks:
            for outcome in self.engine.wait(SECONDS_BETWEEN_LOOKS):
                task = tasks.pop(outcome.key)
                if outcome.state == "lost" and losses[task.key] < RETRIES:
                    losses[task.key] += 1
                    sweeps.abandon(task.key, reason=outcome.reason)
                    self.say(f"lost, restarting: {task.name}: {outcome.reason}")
                    tasks[task.key] = task
                    self.engine.submit(task, self.needs)
                elif outcome.state != "done":
                    kind = UserError if outcome.exit_code == Exit.USER else ServiceError
                    raise kind(f"{task.name}: {outcome.reason}")


def _needs(nodes: Sequence[Node], at_once: int, weights: float) -> Capacity:
    """Return what a candidate asks for. Raises UserError if no machine has that much."""
    gpus = 1 if any(node.gpus for node in nodes) else 0
    memory = plan.PROCESS_BYTES + (plan.BESIDE_GPU if gpus else plan.ON_CPU) * weights
    fitting = [node for node in nodes if node.memory >= memory and node.gpus >= gpus]
    if not fitting:
        raise UserError(
            f"No machine fits a candidate, which needs about {memory / 1e9:.1f} GB of memory. Use a"
            " larger machine."
        )
    most = max(node.cpus for node in fitting)
    here = -(-at_once // len(fitting))
    return Capacity(cpus=max(1, most // here), memory=memory, gpus=gpus)
