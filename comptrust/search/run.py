"""The search: measure once, bisect along the frontier, judge the winner on prompts held back.

Everything is a function of its inputs and of what the caches hold: sensitivity, checkpoints and
answers. Run again after an interruption, it decides as before without doing anything twice.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from comptrust import config, digests
from comptrust.compression import fitting, sensitivity
from comptrust.compression.checkpoint import dense_bytes
from comptrust.errors import UserError
from comptrust.gate.evidence import Evidence
from comptrust.gate.rules.sensitive import Sensitive
from comptrust.gate.rules.trusted_source import TrustedSource
from comptrust.models import precision, presets
from comptrust.models.probe import InMemory
from comptrust.records import DENSE_BITS, Checkpoint, Finding, Recipe, Suite
from comptrust.search import sift, split
from comptrust.search.frontier import Frontier, bisect_next
from comptrust.search.result import Searched, Trial
from comptrust.sweep.plan import REFERENCE_COMPRESS, REFERENCE_PROMPT, REFERENCE_WEIGHTS
from comptrust.text_tables import counted, duration
from comptrust.tracking import runs, sweeps
from comptrust.tracking.store import has_tags, search_runs
from comptrust.trust import evaluation
from comptrust.trust.evaluation import Evaluation
from comptrust.workflow import checkpoints, job

Say = Callable[[str], None]
CALIBRATION_TEXTS = 24
"""Texts that the sensitivity is measured with."""
CLOSE = 0.01
"""Share of the dense size below which a smaller passing recipe is not looked for."""
FEW_BITS = 3


@dataclass(frozen=True)
class Budget:
    """When to stop trying candidates."""

    candidates: int = 8
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A search whose inputs were checked."""

    job: job.Job
    """How the winner is judged: its suite is the part held back, its recipe has the fewest bits."""
    whole: Suite
    """Of which the search asks the rest."""
    widths: Sequence[int]
    """Bits that a unit may get; 16 leaves it dense."""
    budget: Budget = Budget()


class Refused(UserError):
    """The dense model's own answers show that nothing should be searched for."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(f"Before any candidate, rule {finding.rule}: {finding.reason}")
        self.finding = finding


class Search:
    """One search."""

    def __init__(self, plan: Plan, *, say: Say = lambda line: None) -> None:
        self.plan, self.say, self.began = plan, say, time.monotonic()
        self.search, held = split.split(plan.whole, plan.job.suite.limit or 1.0)
        if held.digest != plan.job.suite.digest:
            raise UserError("The part held back is not a sample of the whole suite.")
        self.parts = split.parts(self.search)
        self.limits = sift.margins(self.search, plan.job.policy)
        if not self.limits:
            raise UserError(
                f"Policy {plan.job.policy.name} has no max_drop rule for quantized models, so no"
                " candidate could be told from another."
            )
        self.trials: dict[int, Trial] = {}
        self._loaded: tuple[str, Any] | None = None
        """Digest of a checkpoint and the backend that has it in memory."""
        self._check_budget()

    def _check_budget(self) -> None:
        """Raise UserError if the time is too short for one candidate, at the speed of two cores."""
        budget, recipe = self.plan.budget.seconds, self.plan.job.recipe
        weights = dense_bytes(self.plan.job.source.path) / 2
        prompts = len(self.search.prompts) + len(self.parts[0].prompts)
        seconds = REFERENCE_COMPRESS.get(recipe.method, 0.0) + prompts * REFERENCE_PROMPT
        needed = seconds * weights / REFERENCE_WEIGHTS
        if budget is not None and budget < needed:
            raise UserError(
                f"The budget of {duration(budget)} is too small for one candidate, which takes"
                f" about {duration(needed)} with the dense model's answers on two CPU cores."
            )

    @property
    def key(self) -> str:
        """SHA-256 of what decides the result; the same search continues the same run."""
        plan = self.plan
        asked = [plan.job.recipe.digest_of_fields(), plan.job.source.revision, plan.whole.digest]
        return digests.of_value(
            [*asked, plan.job.policy.digest, plan.job.suite.digest, list(plan.widths),
             digests.of_code()]
        )  # fmt: skip

    def run(self) -> Searched:
        """Search and judge the winner. Raises Refused if the dense answers do not allow it."""
        tags = {"search": self.plan.job.policy.name, sweeps.SWEEP: self.key}
        name = f"search {self.plan.job.recipe.method}"
        with runs.start(name, resume=sweeps.parent_to_resume(self.key), tags=tags) as parent:
            dense = self._dense()
            frontier = self._frontier()
            place = self._bisect(frontier, dense, parent)
            found = self._found(frontier)
            if place is not None:
                found = self._judge(found, frontier.at(place), parent)
                parent.text("recipe.yaml", as_file(frontier.at(place)))
            self._log(found, parent)
        return found

    def _dense(self) -> tuple[Evaluation, ...]:
        """Let the dense model answer the search part and check that its answers can tell damage."""
        job = self.plan.job
        recipe = Recipe(base_model=job.recipe.base_model, method="none")
        self.say("dense model: answering the search part")
        record = checkpoints.get(recipe, job.source, say=self.say)
        answered = tuple(self._answers(record, part, None) for part in self.parts)
        self._loaded = None
        whole = _together(answered, self.search)
        copy = dataclasses.replace(
            whole, scorecard=whole.scorecard.model_copy(update={"checkpoint_digest": "copy"})
        )
        for rule in job.policy.rules:
            if isinstance(rule, (TrustedSource, Sensitive)):
                finding = rule.check(Evidence(copy, whole))
                if finding.outcome != "pass":
                    raise Refused(finding)
        return answered

    def _frontier(self) -> Frontier:
        """Measure the sensitivity, unless the cache has it, and return the recipes to try."""
        plan, source = self.plan, self.plan.job.source
        recipe = fitting.check(plan.job.recipe, source.path)
        coded = [bits for bits in plan.widths if bits < DENSE_BITS]
        key = digests.of_value(
            [source.revision, recipe.group_size, coded, CALIBRATION_TEXTS, recipe.calibration,
             recipe.seed, digests.of_code()]
        )[:24]  # fmt: skip
        measured = sensitivity.cached(key)
        if measured is None:
            from comptrust.compression import calibration
            from comptrust.models.loading import load

            self.say("measuring the sensitivity of each layer")
            model, tokenizer = load(source.path)
            texts = calibration.choose(
                recipe.calibration or "builtin",
                count=CALIBRATION_TEXTS,
                seed=recipe.seed,
                model=model,
                tokenizer=tokenizer,
                template=presets.template(recipe.base_model),
            )
            samples = calibration.tokenize(texts, tokenizer)
            measured = sensitivity.measure(
                model, samples, bits=coded, group_size=int(recipe.group_size or 0)
            )
            sensitivity.keep(key, measured)
        weights = sum(unit.weights for unit in measured.units)
        rest = dense_bytes(source.path) - 2 * weights
        return Frontier(measured, widths=plan.widths, recipe=plan.job.recipe, dense_bytes=rest)

    def _bisect(
        self, frontier: Frontier, dense: Sequence[Evaluation], parent: runs.Run
    ) -> int | None:
        """Return the smallest place that passed the search part, None if none did."""
        return bisect(
            frontier,
            lambda place: self._try(frontier, place, dense, parent),
            budget=self.plan.budget.candidates,
            close=CLOSE * dense_bytes(self.plan.job.source.path),
            stop=self._out_of_time,
        )

    def _out_of_time(self) -> bool:
        seconds = self.plan.budget.seconds
        return seconds is not None and time.monotonic() - self.began > seconds

    def _try(
        self, frontier: Frontier, place: int, dense: Sequence[Evaluation], parent: runs.Run
    ) -> bool:
        recipe, job = frontier.at(place), self.plan.job
        self._loaded = None  # compression needs the memory
        self.say(
            f"candidate {len(self.trials) + 1}: {frontier.average_bits(place):.2f} bits per weight"
        )
        tags = {sweeps.PARENT: parent.id, sweeps.CELL: digests.of_value([self.key, place])}
        earlier = search_runs(has_tags({sweeps.CELL: tags[sweeps.CELL]}), limit=1)
        resume = next((run.info.run_id for run in earlier), None)
        with runs.start(recipe.slug, adopt=False, resume=resume, tags=tags) as log:
            models = InMemory(job.source, wants_dense=False)
            record = checkpoints.get(recipe, job.source, watcher=models, say=self.say)
            answered = iter(dense)

            def ask(part: Suite) -> tuple[sift.Answers, sift.Answers]:
                ours = self._answers(record, part, models)
                return ours.generations, next(answered).generations

            found = sift.sift(self.parts, ask, limits=self.limits)
            trial = Trial(
                recipe=record.recipe,
                bytes=record.bytes,
                effective_bits=record.effective_bits,
                few_bits=record.share_at_most(FEW_BITS) or 0.0,
                outcome=found.outcome,
                worst=found.worst if found.worst < float("inf") else None,
                margin=found.margin,
                dimension=found.dimension,
                prompts=found.prompts,
            )
            log.recipe(record.recipe, suite=f"{job.suite_name}, search part")
            log.checkpoint(record)
            log.text("trial.json", trial.model_dump_json(indent=2))
            log.tags({"searched": trial.words, "binds": trial.dimension})
            if trial.worst is not None:
                log.metrics({"search/worst_bound": trial.worst})
        self.trials[place] = trial
        worst = "no bound" if trial.worst is None else f"at most {trial.worst:.1f} points"
        self.say(
            f"{trial.words}: {trial.bytes / 1e6:.1f} MB, {worst} lost in {trial.dimension} (margin"
            f" {trial.margin:g}), {counted(trial.prompts, 'prompt')}"
        )
        return trial.outcome == "pass"

    def _answers(self, record: Checkpoint, part: Suite, models: InMemory | None) -> Evaluation:
        """Return a checkpoint's answers to a part of the search part, from the cache if there."""
        from comptrust.models.backends.hf import Hf
        from comptrust.trust.run import evaluate

        job = self.plan.job
        asked = [part.digest, digests.of_code(), job.dtype, job.template, dict(job.template_args)]
        key = digests.of_value([record.digest, *asked])
        folder = config.cache_dir() / "evaluations" / key[:24]
        if (folder / "scorecard.json").exists():
            return evaluation.load(folder, ref=str(folder))
        path = Path(record.path)
        if self._loaded is None or self._loaded[0] != record.digest:
            self._loaded = None  # two models are never in memory together
            backend = Hf(
                path,
                batch_size=job.batch_size,
                template=job.template or presets.template(record.recipe.base_model),
                template_args=job.template_args,
                dtype=job.dtype,
                loaded=models.take(record, dtype=job.dtype) if models else None,
            )
            self._loaded = record.digest, backend
        return evaluate(
            self._loaded[1],
            part,
            out=folder,
            checkpoint_digest=record.digest,
            allow_partial=True,
            facts={"weights": precision.weights(path)},
            dense=record.recipe.method == "none",
            say=self.say,
        )

    def _found(self, frontier: Frontier) -> Searched:
        plan = self.plan
        return Searched(
            model=plan.job.recipe.base_model,
            policy=plan.job.policy.name,
            dense_bytes=dense_bytes(plan.job.source.path),
            search_prompts=len(self.search.prompts),
            held_prompts=len(plan.job.suite.prompts),
            trials=tuple(self.trials.values()),
            frontier=tuple(
                (frontier.size(place), frontier.average_bits(place))
                for place in range(len(frontier))
            ),
            sensitivity=sensitivity.Sensitivity(
                group_size=frontier.group_size, calibration_tokens=0, units=frontier.units
            ),
        )

    def _judge(self, found: Searched, recipe: Recipe, parent: runs.Run) -> Searched:
        """Judge the winner once, as `comptrust run` would, on the prompts held back."""
        self._loaded = None
        chosen = (
            f"the smallest that passed of {counted(len(found.trials), 'candidate')} judged on"
            f" {found.search_prompts:,} other prompts"
        )
        self.say(f"judging {recipe.slug} on {counted(found.held_prompts, 'prompt')} held back")
        judged = job.run(
            dataclasses.replace(self.plan.job, recipe=recipe, chosen=chosen), say=self.say
        )
        run_id = judged.candidate.ref.removeprefix("runs:/")
        runs.Run(run_id).tags({sweeps.PARENT: parent.id})
        return found.model_copy(
            update={
                "winner": judged.checkpoint.recipe,
                "version": judged.version.ref,
                "run": judged.candidate.ref,
                "verdict": judged.verdict.outcome,
            }
        )

    def _log(self, found: Searched, parent: runs.Run) -> None:
        from comptrust.search import figure

        parent.text("search.json", found.model_dump_json(indent=1))
        with figure.folder_of(found) as folder:
            parent.folder(Path(folder), "report")
        parent.metrics({"search/candidates": len(found.trials), "search/prompts": found.asked})
        parent.tags({"verdict": found.verdict, "winner": found.version or "none"})


def bisect(
    frontier: Frontier,
    judge: Callable[[int], bool],
    *,
    budget: int,
    close: float,
    stop: Callable[[], bool] = lambda: False,
) -> int | None:
    """Return the smallest place that `judge` passed within a budget of calls; None if none.

    It ends early if a smaller passing one would save less than `close` bytes.
    """
    failed, passed = -1, len(frontier)
    for _ in range(budget):
        known = passed < len(frontier)
        if known and frontier.size(passed) - frontier.size(max(failed, 0)) < close:
            break
        place = bisect_next(frontier, failed=failed, passed=passed)
        if place is None or stop():
            break
        if judge(place):
            passed = place
        else:
            failed = place
    return passed if passed < len(frontier) else None


def as_file(recipe: Recipe) -> str:
    """Return the recipe file with which `comptrust run` repeats a recipe of the frontier."""
    names = {"method", "bits", "group_size", "calibration", "calibration_samples", "seed"}
    fields = recipe.model_dump(mode="json", include={*names, "layer_bits"}, exclude_none=True)
    return yaml.safe_dump({"model": recipe.base_model, **fields}, sort_keys=False)


def _together(answered: Sequence[Evaluation], suite: Suite) -> Evaluation:
    """Return the dense model's answers to all parts as one evaluation of the search part."""
    from comptrust.trust import scoring

    generations = {
        name: [row for one in answered for row in one.generations.get(name, [])]
        for name in suite.by_dimension()
    }
    manifest = suite.manifest()
    scores = scoring.score(
        (row for rows in generations.values() for row in rows),
        suite=manifest,
        dimensions=generations,
    )
    card = answered[0].scorecard.model_copy(update={"scores": scores, "suite_digest": suite.digest})
    return dataclasses.replace(answered[0], scorecard=card, generations=generations, suite=manifest)
