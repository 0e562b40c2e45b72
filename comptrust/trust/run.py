"""Ask a model a suite's prompts, write each answer to disk at once, and score them."""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from comptrust import digests, progress
from comptrust.errors import ServiceError
from comptrust.models.base import DECODING, Backend, unanswered
from comptrust.records import (
    NOT_FINITE,
    TOO_LONG,
    UNFINISHED,
    Generation,
    Prompt,
    Scorecard,
    Suite,
)
from comptrust.text_tables import counted
from comptrust.trust import kept as kept_answers
from comptrust.trust import provenance, scorers, scoring, window
from comptrust.trust.evaluation import Evaluation, load
from comptrust.trust.generations import write_generations
from comptrust.trust.ledger import Ledger

Check = Callable[[Mapping[str, Sequence[Generation]]], None]
"""Raises if answers (dimension -> generations) must not be scored."""
FINAL = ("content_filter", TOO_LONG, UNFINISHED, NOT_FINITE)
"""Finish reasons of answers that would be withheld again."""


def evaluate(
    backend: Backend,
    suite: Suite,
    *,
    out: Path,
    checkpoint_digest: str,
    allow_partial: bool = False,
    facts: Mapping[str, str] = {},
    dense: bool = False,
    check: Check = lambda answers: None,
    ledger: Ledger | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Write suite.json, rendered.json, generations/ and, last, scorecard.json to `out`.

    Prompts that have an answer in `out` that counts for the `ledger` are skipped, as are those
    beyond the model's context window. `check` gets all answers (dimension -> generations) before
    they are scored and raises if they must not be. `facts` go into the scorecard's provenance.
    Returns the evaluation as read back. Raises UserError if `out` has answers of another suite or
    model or a broken line, ServiceError if the disk is full (answers are kept) or the model
    computes no probabilities for any prompt; for some, these are not measured.
    """
    asking = Asking(
        backend,
        suite,
        kept=out,
        checkpoint_digest=checkpoint_digest,
        ledger=ledger or Ledger(),
        say=say,
    )
    for name in suite.required:
        asking.ask(name)
    return asking.finish(
        suite, out=out, allow_partial=allow_partial, facts=facts, dense=dense, check=check
    )


class Asking:
    """One model that is asked a suite's prompts; each answer is on disk at once."""

    def __init__(
        self,
        backend: Backend,
        suite: Suite,
        *,
        kept: Path,
        checkpoint_digest: str,
        ledger: Ledger,
        say: Callable[[str], None],
    ) -> None:
        """Open the folder `kept`, and take over the answers there that count for the ledger."""
        self.backend, self.suite, self.ledger = backend, suite, ledger
        self.checkpoint_digest, self._folder = checkpoint_digest, kept / "generations"
        rendered = [backend.render(prompt) for prompt in suite.prompts]
        self._rendered = {
            (prompt.dimension, prompt.id): text
            for prompt, text in zip(suite.prompts, rendered, strict=True)
        }
        owner = self._owner(suite)
        kept_answers.claim(kept, owner)
        ledger.open(owner)
        beyond = window.beyond(backend, suite, rendered, say=say)
        self.left_out = frozenset((prompt.dimension, prompt.id) for prompt in beyond)
        """(dimension, id) of the prompts beyond the model's context window, which are not sent."""
        self._classified: set[tuple[str, str]] = set()
        """(dimension, id) of the answers whose texts a classifier has scored."""
        self._answers: dict[str, dict[str, Generation]] = {}
        lost = 0
        for name in suite.required:
            lines = list(kept_answers.resume(self._partial(name), ledger))
            lost += lines.count(None)
            answers = {answer.id: answer for answer in lines if answer}
            self._answers[name] = {
                key: answer for key, answer in answers.items() if answer.withheld in (None, *FINAL)
            } | {
                prompt.id: unanswered(prompt, TOO_LONG)
                for prompt in beyond
                if prompt.dimension == name
            }
        open_ = sum(one.id not in self._answers[one.dimension] for one in suite.prompts)
        if unmarked := min(open_, lost):
            say(
                f"{counted(unmarked, 'kept answer')} not made with this signing key: asked for"
                " again"
            )

    def expect(self, prompts: Iterable[Prompt]) -> None:
        """Announce prompts that may be asked, a few at a time."""
        answers = self._answers
        self.backend.expect([one for one in prompts if one.id not in answers[one.dimension]])

    def ask(
        self, dimension: str, prompts: Sequence[Prompt] | None = None, *, brief: bool = False
    ) -> list[Generation]:
        """Return the answers to some prompts of a dimension, in order; by default to all of them.

        Those that have no answer yet are asked; what failed is tried again. `brief`: this is one of
        many short steps.
        """
        if prompts is None:
            prompts = [one for one in self.suite.prompts if one.dimension == dimension]
        answers, partial = self._answers[dimension], self._partial(dimension)
        if missing := [prompt for prompt in prompts if prompt.id not in answers]:
            done = len(prompts) - len(missing)
            for answer in progress.track(
                self.backend.answer(missing),
                total=len(prompts),
                done=done,
                what=dimension,
                brief=brief,
            ):
                line = self.ledger.marked(json.dumps(answer.model_dump(mode="json")))
                kept_answers.append(
                    partial, line, kept=f"{done} of {len(prompts)} answers are kept"
                )
                done += 1
                answers[answer.id] = answer
        rows = [answers[prompt.id] for prompt in prompts]
        if rows and dimension in self.suite.scorers:
            scorer = scorers.get(self.suite.scorers[dimension])
            unscored = [row for row in rows if (dimension, row.id) not in self._classified]
            answers |= {row.id: row for row in _with_toxicity(unscored, scorer=scorer)}
            self._classified.update((dimension, row.id) for row in unscored)
            rows = [answers[prompt.id] for prompt in prompts]
        return rows

    def finish(
        self,
        suite: Suite,
        *,
        out: Path,
        allow_partial: bool = False,
        facts: Mapping[str, str] = {},
        dense: bool = False,
        check: Check = lambda answers: None,
    ) -> Evaluation:
        """Score the answers to `suite`, all or a part of what is asked, and write all to `out`."""
        owner, manifest = self._owner(suite), suite.manifest()
        kept_answers.claim(out, owner)
        digests.write_atomic(out / "suite.json", manifest.model_dump_json(indent=2) + "\n")
        examples: dict[str, str] = {}
        for prompt in suite.prompts:
            text = self._rendered[prompt.dimension, prompt.id]
            examples.setdefault(f"{prompt.dimension}/{prompt.scenario}", text)
        digests.write_atomic(
            out / "rendered.json", json.dumps(examples, indent=2, ensure_ascii=False) + "\n"
        )
        by_dimension, files = suite.by_dimension(), {}
        answers = {name: self.ask(name, by_dimension.get(name, [])) for name in suite.required}
        for name, rows in answers.items():
            places = {row.id: number for number, row in enumerate(rows)}
            order = (places[key] for key in self._answers[name] if key in places)
            if rows:
                self.ledger.order[name] = tuple(order)
                path = out / "generations" / f"{name}.jsonl"
                files[name] = write_generations(path, rows)
        reasons = {row.withheld for rows in answers.values() for row in rows}
        if NOT_FINITE in reasons and not reasons - {NOT_FINITE, TOO_LONG}:
            raise ServiceError(
                "The model's log-likelihoods are not finite for any prompt, so nothing is scored."
                " Its weights are broken, or too large for its dtype: compress it again, or"
                " evaluate it in float32."
            )
        check(answers)
        card = Scorecard(
            checkpoint_digest=self.checkpoint_digest,
            suite_digest=suite.digest,
            rendering_digest=owner["rendering"],
            generations=files,
            scores=scoring.score(
                itertools.chain.from_iterable(answers.values()),
                suite=manifest,
                dimensions=answers,
                scoring=suite.scoring,
                allow_partial=allow_partial,
                dense=dense,
            ),
            provenance={
                **provenance.of(suite),
                **self.backend.machine(),
                **facts,
                **self.backend.describe(),
            },
        )
        digests.write_atomic(out / "scorecard.json", card.model_dump_json(indent=2) + "\n")
        return load(out, ref=str(out / "scorecard.json"))

    def _owner(self, suite: Suite) -> dict[str, str]:
        """Return whose answers to which prompts a folder holds."""
        texts = [self._rendered[prompt.dimension, prompt.id] for prompt in suite.prompts]
        return {
            "suite": suite.digest,
            "checkpoint": self.checkpoint_digest,
            "rendering": digests.of_value({"decoding": DECODING, "prompts": texts}),
            **self.backend.describe(),
        }

    def _partial(self, dimension: str) -> Path:
        return self._folder / f".{dimension}.partial.jsonl"


def _with_toxicity(answers: Sequence[Generation], *, scorer: scorers.Scorer) -> list[Generation]:
    """Add `extra.toxicity`: per text 0-1, or None if blank; None if the scorer failed on any."""
    values = iter(scorer.score([text for answer in answers for text in answer.texts]))
    scored = []
    for answer in answers:
        toxicity = [next(values) for _ in answer.texts]
        failed = any(
            value is None and text.strip()
            for value, text in zip(toxicity, answer.texts, strict=True)
        )
        extra = {**answer.extra, "toxicity": None if failed else toxicity}
        scored.append(answer.model_copy(update={"extra": extra}))
    return scored
