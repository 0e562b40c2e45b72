"""One model that a job asks: its engine, its kept answers, and the signed and logged evaluation."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust import config, digests
from comptrust.models import engines, precision, presets
from comptrust.models.base import Backend
from comptrust.models.probe import InMemory
from comptrust.records import CHOSEN, Checkpoint, Suite
from comptrust.tracking import datasets, runs
from comptrust.tracking import serving_cost as costs
from comptrust.trust import evaluation
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.run import Asking
from comptrust.workflow import measuring

if TYPE_CHECKING:
    from comptrust.workflow.job import Job

Say = Callable[[str], None]


@dataclass(frozen=True)
class Side:
    """A checkpoint that is being asked."""

    checkpoint: Checkpoint
    job: "Job"
    backend: Backend
    asking: Asking
    witness: measuring.Witness
    kept: Path
    """Folder of all its answers to the job's suite, in the cache."""
    is_new: bool
    """Whether none of them was there before."""

    def finish(self, log: runs.Run, suite: Suite, *, say: Say) -> Evaluation:
        """Score, sign and log the answers to the job's suite, or to the part that was asked.

        Each step is validated with Great Expectations.
        """
        from comptrust.gate.expectations import frames

        folder = self.kept / suite.digest[:24] if suite.stopped else self.kept
        chosen = {CHOSEN: self.job.chosen} if self.job.chosen else {}
        checks = _checks(self.kept)
        log.read(datasets.suite(suite, spec=self.job.suite_name), context="evaluation")
        try:
            measured = self.asking.finish(
                suite,
                out=folder,
                facts={"weights": precision.weights(Path(self.checkpoint.path))} | chosen,
                dense=self.checkpoint.recipe.method == "none",
                check=functools.partial(frames.validate_generations, suite.prompts, out=checks),
            )
            if self.is_new:  # else the time is not that of all prompts
                log.metrics({runs.PROMPTS: len(suite.prompts)})
            frames.validate_scorecards([measured.scorecard], out=checks)
            cost = measuring.serving_cost(self.backend, self.kept, say=say)
        finally:
            if checks.is_dir():
                log.folder(checks, "validation")
        # The same bytes as those that are logged, as they are signed.
        text = self.checkpoint.model_dump_json(indent=2)
        digests.write_atomic(folder / "checkpoint.json", text)
        self.witness.place(folder)
        self.witness.sign(folder, self.asking.ledger)
        log.evaluation(folder, measured.scorecard)
        costs.log(log, cost)
        return evaluation.load(folder, ref=f"runs:/{log.id}")


@contextmanager
def asked(checkpoint: Checkpoint, job: "Job", models: InMemory, *, say: Say) -> Iterator[Side]:
    """Load a checkpoint, or the model of it that is in memory, to ask it the job's suite."""
    from comptrust.gate.expectations import frames

    path, own = Path(checkpoint.path), presets.template(checkpoint.recipe.base_model)
    options = replace(job.asking, template=job.asking.template or own)
    protocol = [options.asks, options.dtype, options.template, dict(options.template_args)]
    key = digests.of_value([checkpoint.digest, job.suite.digest, digests.of_code(), *protocol])
    kept = config.cache_dir() / "evaluations" / key[:24]
    is_new = not (kept / "owner.json").exists()
    witness = measuring.Witness(job.signer.key, job.seal)
    ledger = witness.ledger(job.suite, stop=job.stop)
    frames.validate_prompts(job.suite.prompts, out=_checks(kept))
    if options.asks != "hf":
        models.release()
    with engines.opened(
        path,
        options,
        name=path.name,
        log=kept.with_name(f"{kept.name}-server.log"),
        loaded=lambda: models.take(checkpoint, dtype=options.dtype),
        say=say,
    ) as backend:
        asking = Asking(
            backend,
            job.suite,
            kept=kept,
            checkpoint_digest=checkpoint.digest,
            ledger=ledger,
            say=say,
        )
        yield Side(checkpoint, job, backend, asking, witness, kept, is_new)


def _checks(kept: Path) -> Path:
    """Return the folder of the validation's results."""
    return kept.with_name(f"{kept.name}-validation")
