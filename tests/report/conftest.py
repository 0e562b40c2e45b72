"""Logged runs for the report, of models that answer with the target but forget some of it.

Questions, scores, verdicts and artifacts are real.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from comptrust.gate import policy as policies
from comptrust.gate.base import Evidence
from comptrust.gate.verdict import judge
from comptrust.models.backends.echo import Echo
from comptrust.records import Checkpoint, Generation, Prompt, Recipe, ReloadCheck
from comptrust.report import figures
from comptrust.tracking import registry, runs
from comptrust.trust import suite as suites
from comptrust.trust.evaluation import Evaluation
from comptrust.trust.run import evaluate

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

BASE = Recipe(base_model="builtin:forgetful", revision="r1", method="none")
PLANTED = (
    "</pre><script>document.title = 'planted'</script><img src=x onerror=\"document.title ="
    " 'planted'\">"
)
SIZES = {None: 1000, 8: 620, 4: 420, 3: 370}


class Forgetful(Echo):
    """Echo the target, but for some of the prompts give the last option or refuse.

    `forgets` is the percentage of such prompts. Their answers contain markup.
    """

    def __init__(self, *, forgets: int, seed: int) -> None:
        super().__init__()
        self.forgets, self.seed = forgets, seed

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Answer every prompt in order."""
        for prompt in prompts:
            key = f"{self.seed} {prompt.dimension} {prompt.id}"
            percentile = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 100
            if percentile >= self.forgets:
                yield from Echo().answer([prompt])
                continue
            wrong = "I'm sorry, but I cannot help with that."
            if prompt.choices:
                wrong = prompt.choices[-1].text
            for generation in Echo(wrong).answer([prompt]):
                texts = tuple(f"{text}\n{PLANTED}" for text in generation.texts)
                yield generation.model_copy(update={"texts": texts})


@dataclass(frozen=True)
class OwnRuns:
    """Where the runs are."""

    folder: Path
    uri: str
    run_ids: dict[str, str]
    """Slug of the recipe -> run id."""


def recipes() -> list[tuple[Recipe, int]]:
    """Return (recipe, percent forgotten), the dense source first."""
    gptq, awq = {"method": "gptq", "group_size": 64}, {"method": "awq", "group_size": 64}
    wanda = {"method": "wanda", "sparsity": 0.5, "structure": "2:4"}
    variants = [
        ({}, 2),
        (gptq | {"bits": 8}, 3),
        (gptq | {"bits": 4}, 12),
        (awq | {"bits": 4}, 8),
        (wanda, 30),
    ]
    variants += [
        (gptq | {"bits": 3, "seed": seed}, share) for seed, share in ((0, 40), (1, 44), (2, 48))
    ]
    return [(BASE.model_copy(update=changes), share) for changes, share in variants]


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
        reload_check=ReloadCheck(max_logit_difference=0.0, tolerance=0.1, n_tokens=1),
        versions={},
    )


def log(folder: Path) -> dict[str, str]:
    """Log a run per recipe as `comptrust run` does and return slug -> run id."""
    suite = suites.load("mini", limit=6)
    run_ids: dict[str, str] = {}
    dense: Evaluation | None = None
    for recipe, forgets in recipes():
        record = checkpoint(recipe)
        answers = folder / recipe.slug
        measured = evaluate(
            Forgetful(forgets=forgets, seed=recipe.seed),
            suite,
            out=answers,
            checkpoint_digest=record.digest,
        )
        measured = dataclasses.replace(measured, checkpoint=record)
        dense = dense or measured
        with runs.start(recipe.slug, tags=registry.recipe_tags(recipe)) as run:
            run.recipe(recipe, suite="mini")
            run.checkpoint(record)
            run.evaluation(answers, measured.scorecard)
            run.comparison(measured, dense, prompts=suite.prompts)
            run.verdict(
                judge(Evidence(candidate=measured, baseline=dense), policies.load("staging"))
            )
            figures.log(run.id)
        run_ids[recipe.slug] = run.id
    return run_ids


@pytest.fixture(scope="session")
def logged(tmp_path_factory: pytest.TempPathFactory) -> OwnRuns:
    """Log the runs once, in a store of their own; tests use `own_runs`, a copy of it."""
    folder = tmp_path_factory.mktemp("own")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        _set_environment(patch, folder, uri)
        return OwnRuns(folder, uri, log(folder / "answers"))


@pytest.fixture
def own_runs(logged: OwnRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnRuns:
    """Point MLflow at a copy of the logged runs; their artifacts are shared."""
    shutil.copy(logged.folder / "mlflow.db", tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    _set_environment(monkeypatch, tmp_path, uri)
    return dataclasses.replace(logged, uri=uri)


def _set_environment(patch: pytest.MonkeyPatch, folder: Path, uri: str) -> None:
    for name in (
        "MLFLOW_RUN_ID",
        "MLFLOW_EXPERIMENT_ID",
        "MLFLOW_EXPERIMENT_NAME",
        "MLFLOW_REGISTRY_URI",
    ):
        patch.delenv(name, raising=False)
    patch.setenv("MLFLOW_TRACKING_URI", uri)
    patch.setenv("COMPTRUST_CACHE", str(folder / "cache"))
    patch.chdir(folder)


@pytest.fixture(scope="session")
def browser() -> Iterator[WebDriver]:
    """Start a headless Chromium; skip the test if it is not installed."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver are installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--force-device-scale-factor=1",
    ):
        options.add_argument(argument)
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()
