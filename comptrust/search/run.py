"""The search: measure once, bisect along the frontier, judge the winner on prompts held back.

Everything is a function of its inputs and of what the caches hold: sensitivity, checkpoints and
answers. Run again after an interruption, it decides as before without doing anything twice.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence

import yaml

from comptrust import digests
from comptrust.compression import fitting, sensitivity
from comptrust.compression.checkpoint import dense_bytes
from comptrust.errors import UserError
from comptrust.models import presets
from comptrust.models.probe import InMemory
from comptrust.records import DENSE_BITS, Finding, Recipe
from comptrust.search import comparison, rules, split, workers
from comptrust.search.candidate import Candidate
from comptrust.search.frontier import Frontier, bisect
from comptrust.search.plan import Plan
from comptrust.search.result import FILE, Searched, Trial
from comptrust.sweep.plan import REFERENCE_COMPRESS, REFERENCE_PROMPT, REFERENCE_WEIGHTS
from comptrust.text_tables import counted, duration
from comptrust.tracking import runs, sweeps
from comptrust.workflow import checkpoints, job, side

Say = Callable[[str], None]
CALIBRATION_TEXTS = 24
"""Texts that the sensitivity is measured with."""
CLOSE = 0.01
"""Share of the dense size below which a smaller passing recipe is not looked for."""


class Refused(UserError):
    """The dense model's own answers show that nothing should be searched for."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(f"Before any candidate, rule {finding.rule}: {finding.reason}")
        self.finding = finding


class Search:
    """One search."""

    def __init__(self, plan: Plan, *, say: Say = lambda line: None) -> None:
        self.plan, self.say, self.began = plan, say, time.monotonic()
        self.dense_bytes = dense_bytes(plan.job.source.path)
        part, held = split.split(plan.whole, plan.job.suite.limit or 1.0)
        if held.digest != plan.job.suite.digest:
            raise UserError("The part held back is not a sample of the whole suite.")
        self.job = dataclasses.replace(plan.job, suite=part)
        """How candidates answer the search part."""
        self.limits = comparison.margins(part, plan.job.policy)
        if not self.limits:
            raise UserError(
                f"Policy {plan.job.policy.name} has no max_drop rule for quantized models, so no"
                " candidate could be told from another."
            )
        self.trials: dict[int, Trial] = {}
        self._check_budget()

    def _check_budget(self) -> None:
        """Raise UserError if the time is too short for one candidate, at the speed of two cores."""
        budget, method = self.plan.budget.seconds, self.plan.job.recipe.method
        seconds = REFERENCE_COMPRESS.get(method, 0.0)
        seconds += len(self.job.suite.prompts) * REFERENCE_PROMPT
        needed = seconds * self.dense_bytes / 2 / REFERENCE_WEIGHTS
        if budget is not None and budget < needed:
            raise UserError(
                f"The budget of {duration(budget)} is too small for one candidate, which takes"
                f" about {duration(needed)} with the dense model's answers on two CPU cores."
            )

    @property
    def key(self) -> str:
        """SHA-256 of what decides the result; the same search continues the same run."""
        plan, asking = self.plan, self.plan.job.asking
        engine = [asking.asks, asking.dtype, asking.template, dict(asking.template_args)]
        asked = [plan.job.recipe.digest_of_fields(), plan.job.source.revision, plan.whole.digest]
        judged = [plan.job.policy.digest, plan.job.suite.digest, list(plan.widths)]
        way = [plan.objective, plan.at_once]
        return digests.of_value([*asked, *judged, *way, *engine, digests.of_code()])

    def run(self) -> Searched:
        """Search and judge the winner. Raises Refused if the dense answers do not allow it."""
        tags = {"search": self.plan.job.policy.name, sweeps.SWEEP: self.key}
        name = f"search {self.plan.job.recipe.method}"
        at_once = self.plan.at_once
        asking = workers.workers(
            self.plan.address, at_once=at_once, weights=self.dense_bytes / 2, say=self.say
        )
        resume = sweeps.parent_to_resume(self.key)
        with asking as self.workers, runs.start(name, resume=resume, tags=tags) as parent:
            dense = self._dense()
            frontier = self._frontier()
            place = bisect(
                frontier,
                lambda places: self._try(frontier, places, dense, parent),
                budget=self.plan.budget.candidates,
                close=CLOSE * self.dense_bytes,
                at_once=at_once,
                stop=self._out_of_time,
            )
            if place is not None and self.plan.objective == "latency":
                place = self._fastest()
            found = self._found(frontier)
            if place is not None:
                found = self._judge(found, frontier.at(place), parent)
                parent.text("recipe.yaml", as_file(frontier.at(place)))
            self._log(found, parent)
        return found

    def _out_of_time(self) -> bool:
        seconds = self.plan.budget.seconds
        return seconds is not None and time.monotonic() - self.began > seconds

    def _dense(self) -> comparison.Comparison:
        """Let the dense model answer the search part and check that its answers can tell damage."""
        suite, source = self.job.suite, self.job.source
        self.say("dense model: answering the search part")
        recipe = Recipe(base_model=self.job.recipe.base_model, method="none")
        record = checkpoints.get(recipe, source, say=self.say)
        models = InMemory(source, wants_dense=False)
        with side.asked(record, self.job, models, say=self.say) as model:
            for name in suite.required:
                model.asking.ask(name)
            dense = model.asking.finish(suite, out=model.kept, allow_partial=True, dense=True)
        # Rules about whole suites see what the winner is asked: a sample.
        assert dense.suite
        sample = dense.suite.model_copy(update={"limit": self.plan.job.suite.limit})
        dense = dataclasses.replace(dense, suite=sample, checkpoint=record)
        findings = [
            *rules.against_dense(self.job.policy, dense),
            *(
                Finding(rule="max_drop", outcome="inconclusive", reason=reason)
                for name in self.limits
                if (reason := dense.no_signal(name))
            ),
        ]
        if findings:
            raise Refused(findings[0])
        return comparison.Comparison.of(suite, dense, self.limits)

    def _frontier(self) -> Frontier:
        """Measure the sensitivity, unless the cache has it, and return the recipes to try."""
        plan, source = self.plan, self.plan.job.source
        recipe = fitting.check(plan.job.recipe, source.path)
        coded = [bits for bits in plan.widths if bits < DENSE_BITS]
        named = recipe.calibration or "builtin"
        asked = [recipe.group_size, coded, CALIBRATION_TEXTS, named, recipe.seed]
        key = digests.of_value([source.revision, *asked, digests.of_code()])[:24]

        def measure() -> sensitivity.Sensitivity:
            from comptrust.compression import calibration
            from comptrust.models.loading import load

            self.say("measuring the sensitivity of each layer")
            model, tokenizer = load(source.path)
            texts = calibration.choose(
                named,
                count=CALIBRATION_TEXTS,
                seed=recipe.seed,
                model=model,
                tokenizer=tokenizer,
                template=presets.template(recipe.base_model),
            )
            samples = calibration.tokenize(texts, tokenizer)
            group_size = int(recipe.group_size or 0)
            return sensitivity.measure(model, samples, bits=coded, group_size=group_size)

        measured = sensitivity.cached(key, measure)
        rest = self.dense_bytes - 2 * sum(unit.weights for unit in measured.units)
        return Frontier(measured, widths=plan.widths, recipe=plan.job.recipe, dense_bytes=rest)

    def _try(
        self,
        frontier: Frontier,
        places: Sequence[int],
        dense: comparison.Comparison,
        parent: runs.Run,
    ) -> list[bool]:
        """Compress and ask candidates, unless an earlier run of this search did."""
        timed = self.plan.objective == "latency"
        rows = [
            Candidate(
                recipe=frontier.at(place),
                key=digests.of_value([self.key, place]),
                job=self.job,
                dense=dense,
                parent=parent.id,
                timed=timed,
            )
            for place in places
        ]
        for number, place in enumerate(places, start=len(self.trials) + 1):
            self.say(f"candidate {number}: {frontier.average_bits(place):.2f} bits per weight")
        self.workers.ask([row for row in rows if row.trial() is None])
        for place, row in zip(places, rows, strict=True):
            trial = row.trial()
            assert trial is not None
            self.trials[place] = trial
            asked = counted(trial.prompts, "prompt")
            self.say(f"{trial.words}: {trial.bytes / 1e6:.1f} MB, {trial.why}; {asked}")
        return [self.trials[place].outcome == "pass" for place in places]

    def _fastest(self) -> int:
        """Return the place of the fastest that passed. Raises UserError if no speed is known."""
        passed = [place for place, trial in self.trials.items() if trial.outcome == "pass"]
        best = max(passed, key=lambda place: (self.trials[place].speed, -place))
        if not self.trials[best].speed:
            raise UserError(
                "The engine measured no speed of a candidate, so none is the fastest. Search by"
                " size: --objective size."
            )
        return best

    def _found(self, frontier: Frontier) -> Searched:
        plan = self.plan
        return Searched(
            model=plan.job.recipe.base_model,
            policy=plan.job.policy.name,
            dense_bytes=self.dense_bytes,
            search_prompts=len(self.job.suite.prompts),
            held_prompts=len(plan.job.suite.prompts),
            trials=tuple(self.trials.values()),
            frontier=tuple(
                (frontier.size(place), frontier.average_bits(place))
                for place in range(len(frontier))
            ),
            sensitivity=frontier.sensitivity,
        )

    def _judge(self, found: Searched, recipe: Recipe, parent: runs.Run) -> Searched:
        """Judge the winner once, as `comptrust run` would, on the prompts held back."""
        best = "smallest" if self.plan.objective == "size" else "fastest"
        chosen = (
            f"the {best} that passed of {counted(len(found.trials), 'candidate')} judged on"
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

        parent.text(FILE, found.model_dump_json(indent=1))
        with figure.folder_of(found) as folder:
            parent.folder(folder, "report")
        parent.metrics({"search/candidates": len(found.trials), "search/prompts": found.asked})
        parent.tags({"verdict": found.verdict, "winner": found.version or "none"})


def as_file(recipe: Recipe) -> str:
    """Return the recipe file with which `comptrust run` repeats a recipe of the frontier."""
    names = {"method", "bits", "group_size", "calibration", "calibration_samples", "seed"}
    fields = recipe.model_dump(mode="json", include={*names, "layer_bits"}, exclude_none=True)
    return yaml.safe_dump({"model": recipe.base_model, **fields}, sort_keys=False)
