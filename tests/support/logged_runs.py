"""Runs to report on: real questions, scores, verdicts and artifacts of models that answer by the
target and forget some of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from comptrust.gate import policy as policies
from comptrust.gate.evidence import Evidence
from comptrust.gate.verdict import judge
from comptrust.records import Checkpoint, Generation, Prompt, Recipe, ReloadCheck
from comptrust.report import page
from comptrust.tracking import registry, runs
from comptrust.trust import suite as suites
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.run import evaluate
from tests.support.echo import Echo
from tests.support.records import PARTS
from tests.support.stores import RUN_VARIABLES

BASE = Recipe(base_model="builtin:forgetful", revision="r1", method="none")
PLANTED = (
    "</pre><script>document.title = 'planted'</script><img src=x onerror=\"document.title ="
    " 'planted'\">"
)
SIZES = {None: 1000, 8: 620, 4: 420, 3: 370}


class Forgetful(Echo):
    """Echoes the target; for a share of the prompts (in percent) the last option, or a refusal. Its
    wrong answers carry markup.
    """

    def __init__(self, *, forgets: int, seed: int) -> None:
        super().__init__()
        self.forgets, self.seed = forgets, seed

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Answer every prompt in order."""
        for prompt in prompts:
            drawn = (
                int(
                    hashlib.sha256(
                        f"{self.seed} {prompt.dimension} {prompt.id}".encode()
                    ).hexdigest(),
                    16,
                )
                % 100
            )
            if drawn >= self.forgets:
                yield from Echo().answer([prompt])
                continue
            wrong = (
                prompt.choices[-1].text
                if prompt.choices
                else "I'm sorry, but I cannot help with that."
            )
            for said in Echo(wrong).answer([prompt]):
                yield said.model_copy(
                    update={"texts": tuple(f"{text}\n{PLANTED}" for text in said.texts)}
                )


@dataclass(frozen=True)
class LoggedRuns:
    """What was logged."""

    folder: Path
    uri: str
    runs: dict[str, str]
    """Slug of the recipe -> run id."""


def recipes() -> list[tuple[Recipe, int]]:
    """Return (recipe, percent forgotten), the dense source first."""
    gptq, awq = {"method": "gptq", "group_size": 64}, {"method": "awq", "group_size": 64}
    wanda = {"method": "wanda", "sparsity": 0.5, "structure": "2:4"}
    made = [
        ({}, 2),
        (gptq | {"bits": 8}, 3),
        (gptq | {"bits": 4}, 12),
        (awq | {"bits": 4}, 8),
        (wanda, 30),
    ]
    made += [
        (gptq | {"bits": 3, "seed": seed}, share) for seed, share in ((0, 40), (1, 44), (2, 48))
    ]
    return [(BASE.model_copy(update=changes), share) for changes, share in made]


def checkpoint(recipe: Recipe) -> Checkpoint:
    return Checkpoint(
        recipe=recipe,
        path="nowhere",
        digest=recipe.digest_of_fields(),
        manifest={},
        bytes=SIZES[recipe.bits] * 1000,
        dense_bytes=1_000_000,
        effective_bits=16.0 if recipe.bits is None else recipe.bits + 0.25,
        sparsity=recipe.sparsity or 0.0,
        parts=PARTS,
        reload_check=ReloadCheck(max_logit_difference=0.0, tolerance=0.1, n_tokens=1),
        versions={},
    )


def log(folder: Path) -> dict[str, str]:
    """Log a run per recipe as `comptrust run` does and return slug -> run id."""
    suite = suites.load("mini", limit=40)
    found: dict[str, str] = {}
    dense: Evaluation | None = None
    for recipe, forgets in recipes():
        held = checkpoint(recipe)
        answers = folder / recipe.slug
        measured = evaluate(
            Forgetful(forgets=forgets, seed=recipe.seed),
            suite,
            out=answers,
            checkpoint_digest=held.digest,
        )
        measured = dataclasses.replace(measured, checkpoint=held)
        dense = dense or measured
        with runs.start(recipe.slug, tags=registry.recipe_tags(recipe)) as run:
            run.recipe(recipe, suite="mini")
            run.checkpoint(held)
            run.evaluation(answers, measured.scorecard)
            run.comparison(measured, dense, prompts=suite.prompts)
            run.verdict(judge(Evidence(candidate=measured, baseline=dense), policies.load("demo")))
            page.log_answers(run.id, measured, dense, prompts=suite.prompts)
            page.log_version(run.id)
        found[recipe.slug] = run.id
    return found


def surround(patch: pytest.MonkeyPatch, folder: Path, uri: str) -> None:
    for name in RUN_VARIABLES:
        patch.delenv(name, raising=False)
    patch.setenv("MLFLOW_TRACKING_URI", uri)
    patch.setenv("COMPTRUST_CACHE", str(folder / "cache"))
    patch.chdir(folder)
