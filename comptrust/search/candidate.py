"""One candidate of a search, compressed and asked once: by this process or by another one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from comptrust import config
from comptrust.errors import UserError
from comptrust.models import sources
from comptrust.models.probe import InMemory
from comptrust.records import Checkpoint, Recipe
from comptrust.search import rules
from comptrust.search.comparison import Comparison
from comptrust.search.result import Trial
from comptrust.sweep import cell
from comptrust.tracking import registry, runs, sweeps
from comptrust.tracking import serving_cost as costs
from comptrust.tracking.store import has_tags, search_runs
from comptrust.tracking.sweeps import Outcome
from comptrust.workflow import checkpoints, job, measuring, side

Say = Callable[[str], None]
FEW_BITS = 3
TRIAL = "trial.json"
"""Artifact of a candidate's run."""
SHARED = ("suite", "suite_name", "policy", "asking")
"""Fields of a job that another process needs; it finds the model and its own key itself."""


@dataclass(frozen=True)
class Candidate:
    """A recipe to try."""

    recipe: Recipe
    key: str
    """SHA-256 of the search and the recipe's place in it; tag of the run."""
    job: job.Job
    """How it is asked; the suite is the search part."""
    dense: Comparison
    parent: str
    """Id of the search's run."""
    timed: bool
    """Whether what it costs to serve is measured, too, if it passes."""

    def trial(self) -> Trial | None:
        """Return how it ended; None if no run of it is finished."""
        if (run_id := finished(self.key)) is None:
            return None
        logged = runs.read_json(run_id, TRIAL)
        return config.parse(logged, Trial, where=f"runs:/{run_id}/{TRIAL}")

    def ask(self, *, say: Say) -> str:
        """Compress it, ask it until it is decided, log the trial, and return the run's id."""
        earlier = _newest(self.key)
        tags = {sweeps.PARENT: self.parent, sweeps.CELL: self.key}
        resume = earlier.info.run_id if earlier else None
        with runs.start(self.recipe.slug, adopt=False, resume=resume, tags=tags) as log:
            models = InMemory(self.job.source, wants_dense=False)
            with log.timed("compress"):
                record = checkpoints.get(self.recipe, self.job.source, watcher=models, say=say)
            trial = self._judged(record, models, log, say)
            log.recipe(record.recipe, suite=f"{self.job.suite_name}, search part")
            log.checkpoint(record)
            log.text(TRIAL, trial.model_dump_json(indent=2))
            log.tags({"searched": trial.words, "binds": trial.binds})
            costs.log(log, trial.cost)
            lost = trial.binding.lost if trial.binding else None
            shown = {} if lost is None else {"search/lost": lost}
            log.metrics({"search/prompts": trial.prompts, **shown})
            return log.id

    def _judged(self, record: Checkpoint, models: InMemory, log: runs.Run, say: Say) -> Trial:
        """Ask it, unless a rule stops it whatever it answers."""
        policy, dense = self.job.policy, self.dense.evaluation
        made = Trial(
            recipe=record.recipe,
            bytes=record.bytes,
            effective_bits=record.effective_bits,
            few_bits=record.share_at_most(FEW_BITS) or 0.0,
            binding=None,
            finding=rules.before_asking(policy, record, dense),
            prompts=0,
        )
        if made.finding:
            return made
        with log.timed("evaluate"), side.asked(record, self.job, models, say=say) as model:
            binding, ours, theirs = self.dense.judge(model.asking, say=say)
            finding = cost = None
            if binding.outcome == "pass":
                finding = rules.after_asking(policy, record, dense, answers=ours, reference=theirs)
            if self.timed and binding.outcome == "pass" and finding is None:
                cost = measuring.serving_cost(model.backend, model.kept, say=say)
        prompts = sum(map(len, ours.values()))
        asked = {"binding": binding, "finding": finding, "prompts": prompts, "cost": cost}
        return made.model_copy(update=asked)


@runs.service()
def _newest(key: str) -> Any:
    return next(iter(search_runs(has_tags({sweeps.CELL: key}), limit=1)), None)


def finished(key: str) -> str | None:
    """Return the run that finished a candidate; None if there is none."""
    run = _newest(key)
    return run.info.run_id if run is not None and run.info.status == "FINISHED" else None


@dataclass(frozen=True)
class Task:
    """What another process needs for a candidate: a pickle, never logged."""

    recipe: Recipe
    key: str
    revision: str
    """Of the dense source; a machine that finds other files refuses the candidate."""
    shared: Mapping[str, Any]
    """The fields `SHARED` of the job."""
    dense: Comparison
    parent: str
    settings: Mapping[str, str]
    """Environment of the process."""
    code: str
    """Digest of the code that searches."""

    @classmethod
    def of(cls, candidate: Candidate, *, settings: Mapping[str, str], code: str) -> "Task":
        """Pack a candidate."""
        return cls(
            recipe=candidate.recipe,
            key=candidate.key,
            revision=candidate.job.source.revision,
            shared={name: getattr(candidate.job, name) for name in SHARED},
            dense=candidate.dense,
            parent=candidate.parent,
            settings=settings,
            code=code,
        )

    @property
    def name(self) -> str:
        """The recipe in a few characters."""
        return self.recipe.slug

    def done(self) -> Outcome | None:
        """Return the outcome if a process has finished it before."""
        run_id = finished(self.key)
        return Outcome(self.key, "done", run_id) if run_id else None

    def work(self, began: float) -> Outcome:
        """Ask the candidate."""
        cell.check_code(self.code)
        source = sources.resolve(registry.local_model(self.recipe.base_model))
        if source.revision != self.revision:
            raise UserError(
                f"{self.recipe.base_model} has other files on this machine. Put the same model on"
                " every machine."
            )
        made = job.Job(recipe=self.recipe, source=source, **self.shared)
        # One of several on a machine cannot be timed.
        candidate = Candidate(self.recipe, self.key, made, self.dense, self.parent, timed=False)
        return Outcome(self.key, "done", candidate.ask(say=cell.say))
