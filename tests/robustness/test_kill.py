"""Robustness against kills: `run` and `sweep` are killed at seeded points and run again.

They then complete, ask no prompt that was answered, and leave nothing broken.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from comptrust.compression import checkpoint
from comptrust.tracking import evaluations, registry, runs
from tests.support import killed
from tests.support.killed import Death, Ended
from tests.support.sweeps import Place, enter, make_place

pytestmark = pytest.mark.slow
SEED = 11
AT_ONCE = 2
RECIPES = {"dense", "magnitude-2of4-s0"}


@dataclass(frozen=True)
class Figures:
    """Totals over all kills of one command."""

    dead: int
    points: int
    changes: int
    """Changes of the file system by the undisturbed command."""
    kept: int
    """Answers on disk when it was killed."""
    lost: int
    """Answers that the model had given but that were not on disk yet."""
    prompts: int
    """Prompts that the command asks."""

    def __str__(self) -> str:
        return (
            f"{self.dead} of {self.points} points killed, of {self.changes} changes of the file"
            f" system each; all completed when run again, with the same answers; of {self.prompts}"
            f" answers {self.kept} were on disk and none of them was asked again, {self.lost} given"
            " but not yet on disk; versions: none an orphan, none twice; files: none corrupt"
        )


@dataclass(frozen=True)
class End:
    """How one kill went."""

    place: Place
    first: Ended
    """The killed command."""
    again: Ended
    """The same command, run again."""
    answered: Counter[str]
    """Answers on disk in between."""
    asked_again: Counter[str]


@pytest.fixture
def fresh(
    tiny_model: Path, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Place]:
    """Make folders, each with its own store and cache."""
    # Threads that wait for each other make a tiny model slow on a busy machine.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def made(name: str) -> Place:
        (tmp_path / name).mkdir()
        return make_place(tmp_path / name, tiny_model, empty_store)

    return made


def on_disk(place: Place) -> Counter[str]:
    """Return `dimension/id` of every complete answer on disk, once per model."""
    found: Counter[str] = Counter()
    for path in (place.folder / "cache").rglob(".*.partial.jsonl"):
        whole = path.read_bytes().rpartition(b"\n")[0]
        found.update(
            f"{answer['dimension']}/{answer['id']}"
            for answer in map(json.loads, whole.splitlines())
        )
    return found


def check_whole(place: Place, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """Return recipe -> digests of its answers.

    Assert that no file is broken, no version is an orphan and no run is left open.
    """
    for path in place.folder.rglob("[!.]*.json*"):
        if path.suffix in (".json", ".jsonl"):
            for text in (
                path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
            ):
                json.loads(text)
    for path in place.folder.rglob("*.db"):
        assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    made = list((place.folder / "cache" / "checkpoints").glob("*/*"))
    assert {folder.name.rpartition("-")[0] for folder in made} == RECIPES, (
        "a half-made checkpoint is left"
    )
    assert all(checkpoint.verify(folder) == [] for folder in made)
    enter(place, monkeypatch)
    opened = runs.client()
    found = {}
    versions = [
        version
        for model in opened.search_registered_models()
        for version in registry.versions(model.name)
    ]
    for version in versions:
        run = opened.get_run(version.run_id)
        assert run.info.status == "FINISHED" and run.data.tags[
            "checkpoint_digest"
        ] == registry.checkpoint_digest(version)
        found[version.tags["recipe"]] = evaluations.load(version.ref).scorecard.generations
    assert found.keys() == RECIPES and len(versions) == len(RECIPES), (
        "a recipe is missing, or registered twice"
    )
    experiments = [one.experiment_id for one in opened.search_experiments()]
    assert opened.search_runs(experiments, "attributes.status = 'RUNNING'") == []
    return found


def survive(line: Callable[[Place], str], death: Death, place: Place) -> End:
    """Kill a command, then run it again."""
    first = killed.run(line(place), place.folder, environment=place.environment(), death=death)
    answered, before = on_disk(place), len(killed.asked(place.folder))
    again = killed.run(line(place), place.folder, environment=place.environment())
    return End(place, first, again, answered, Counter(killed.asked(place.folder)[before:]))


def kill_at(
    line: Callable[[Place], str],
    deaths: Callable[[int], list[Death]],
    fresh: Callable[[str], Place],
    monkeypatch: pytest.MonkeyPatch,
) -> Figures:
    """Run a command undisturbed, then kill it at each point and run it again.

    What the second run leaves must equal what the undisturbed one left.
    """
    warm, whole = fresh("warm"), fresh("whole")
    killed.run("--version", warm.folder, environment=warm.environment())  # waits for the imports
    undisturbed = killed.run(line(whole), whole.folder, environment=whole.environment())
    assert undisturbed.code == 0, undisturbed.said
    expected, prompts = check_whole(whole, monkeypatch), Counter(killed.asked(whole.folder))
    assert prompts == on_disk(whole)
    points, dead, kept, lost = deaths(undisturbed.changes), 0, 0, 0
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        survived = pool.map(
            lambda numbered: survive(line, numbered[1], fresh(str(numbered[0]))), enumerate(points)
        )
        for death, end in zip(points, survived, strict=True):
            assert end.again.code == 0, f"{death}: {end.first.said}{end.again.said}"
            assert check_whole(end.place, monkeypatch) == expected, death
            dead += end.first.code == -signal.SIGKILL or death.alone
            if not death.alone:  # else the other process went on asking
                assert end.asked_again == prompts - end.answered, death
                kept += end.answered.total()
            twice = len(killed.given(end.place.folder)) - prompts.total()
            assert twice <= 1, f"{death}: {twice} answers were given, but not kept"
            lost += twice
    finally:
        # Not earlier: a process that starts begins in the folder that the loop is in.
        pool.shutdown(cancel_futures=True)  # one point that fails is enough
        monkeypatch.chdir(whole.folder.parent)
        for number, _ in enumerate(points):
            shutil.rmtree(whole.folder.with_name(str(number)), ignore_errors=True)
    return Figures(
        dead, len(points), undisturbed.changes, kept, lost, prompts.total() * len(points)
    )


def test_run_is_killed_anywhere(
    fresh: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]
) -> None:
    def line(place: Place) -> str:
        return (
            f"run --model {place.model} --method magnitude --structure 2:4 --dimensions"
            " mmlu,ethics,privacy --limit 1 --batch-size 2 --no-fail"
        )

    def deaths(changes: int) -> list[Death]:
        chance = random.Random(SEED)
        found = [Death(chance.randint(1, changes - 10)) for _ in range(15)]
        return found + [
            Death(chance.randint(1, int(changes * 0.9)), later=chance.uniform(0, 0.2))
            for _ in range(10)
        ]

    figures = kill_at(line, deaths, fresh, monkeypatch)
    assert figures.dead == figures.points == 25
    tell(f"run, killed at 15 changes and at 10 moments: {figures}")


def test_sweep_is_killed_anywhere(
    fresh: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]
) -> None:
    def line(place: Place) -> str:
        return (
            f"sweep {place.sweep('study', methods=['magnitude'], structure=['2:4'])} --address"
            " serial"
        )

    def deaths(changes: int) -> list[Death]:
        chance = random.Random(SEED)
        found = [
            Death(chance.randint(1, changes - 10), alone=number % 2 == 1) for number in range(8)
        ]
        return found + [
            Death(chance.randint(1, int(changes * 0.9)), later=chance.uniform(0, 0.2))
            for _ in range(2)
        ]

    figures = kill_at(line, deaths, fresh, monkeypatch)
    assert figures.dead == figures.points == 10
    tell(
        "sweep, driver and cell killed at 4 changes and at 2 moments, one of them at 4 changes:"
        f" {figures}"
    )
