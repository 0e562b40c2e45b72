"""Robustness against a full disk: the cache, the output, the artifact store, the database.

The command ends with exit 4 and one line and leaves nothing half-made; with space it completes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from comptrust.compression import checkpoint
from tests.support import killed
from tests.support.sweeps import Place, make_place

pytestmark = pytest.mark.slow
AT_ONCE = 2
MEGABYTE = 2**20
RUN = (
    "run --model {model} --method magnitude --structure 2:4 --dimensions mmlu,privacy --limit 1"
    " --no-fail"
    " --batch-size 2"
)
COMPRESS = "compress --model {model} --method magnitude --structure 2:4 --out {disk}/made"
EVALUATE = "evaluate {model} --dimensions mmlu,privacy --limit 1 --batch-size 2 --out {disk}/made"
CACHE = {"COMPTRUST_CACHE": "{disk}/cache"}
ARTIFACTS = {"COMPTRUST_ARTIFACT_URI": "file://{disk}/artifacts"}
DATABASE = {"MLFLOW_TRACKING_URI": "sqlite:///{disk}/mlflow.db"}


@dataclass(frozen=True)
class Case:
    """A command and what it keeps on the small disk."""

    name: str
    line: str
    environment: dict[str, str]
    shares: tuple[float, ...]
    """How much of the space that the command needs is free, one run each."""


CASES = (
    Case("cache of run", RUN, CACHE, (0.0, 0.3, 0.6, 0.97)),
    Case("output of compress", COMPRESS, {}, (0.0, 0.6)),
    Case("output of evaluate", EVALUATE, {}, (0.0, 0.6)),
    Case("artifacts of run", RUN, ARTIFACTS, (0.2, 0.95)),
    Case("database of run", RUN, DATABASE, (0.0,)),
)


@dataclass(frozen=True)
class Disk:
    """A small file system."""

    path: Path

    @property
    def used(self) -> int:
        """Bytes."""
        state = os.statvfs(self.path)
        return (state.f_blocks - state.f_bfree) * state.f_frsize

    def leave(self, free: int) -> None:
        """Fill it, except for `free` bytes."""
        state = os.statvfs(self.path)
        with open(self.path / "filler", "wb") as file:
            file.write(b"\0" * max(0, state.f_bavail * state.f_frsize - free))

    def free(self) -> None:
        """Give the space back."""
        (self.path / "filler").unlink()


@dataclass(frozen=True)
class Filled:
    """How a command fared on one full disk."""

    full: killed.Ended
    half_made: list[Path]
    again: killed.Ended
    """Run again, with space."""
    before: int
    """Answers given before the disk was full."""
    given: int
    """Answers given in all."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Disk]]:
    """Mount file systems of 64 MB; only root can."""
    made: list[Path] = []

    def mount(name: str) -> Disk:
        path = tmp_path / f"{name}-disk"
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={64 * MEGABYTE}", "tmpfs", path],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        made.append(path)
        return Disk(path)

    yield mount
    for path in made:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_it_fills_up(
    case: Case,
    disk: Callable[[str], Disk],
    tiny_model: Path,
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tell: Callable[[str], None],
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def fresh(name: str) -> tuple[Place, Disk, Callable[[], killed.Ended]]:
        (tmp_path / name).mkdir()
        place, small = make_place(tmp_path / name, tiny_model, empty_store), disk(name)
        if case.environment == DATABASE:
            shutil.copy(empty_store, small.path / "mlflow.db")
        environment = place.environment(
            **{key: value.format(disk=small.path) for key, value in case.environment.items()}
        )
        line = case.line.format(model=tiny_model, disk=small.path)
        return place, small, lambda: killed.run(line, place.folder, environment=environment)

    def fill(share: float) -> Filled:
        place, small, command = fresh(str(share))
        small.leave(int(needed * share))
        full = command()
        half_made, before = (
            [path for path in small.path.rglob("*") if _half_made(path)],
            len(killed.given(place.folder)),
        )
        small.free()
        return Filled(full, half_made, command(), before, len(killed.given(place.folder)))

    whole, small, command = fresh("whole")
    empty = small.used
    undisturbed = command()
    assert undisturbed.code == 0, undisturbed.said
    needed, prompts, kept = small.used - empty, len(killed.given(whole.folder)), 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for share, end in zip(case.shares, pool.map(fill, case.shares), strict=True):
            assert end.full.code == 4, f"{share:.0%} of {needed} bytes free: {end.full.said}"
            lines = [line for line in end.full.said.splitlines() if line.startswith("Error: ")]
            assert len(lines) == 1 and "Traceback" not in end.full.said, end.full.said
            assert end.half_made == [], f"{share:.0%}: {end.half_made}"
            assert end.again.code == 0, f"{share:.0%}: {end.again.said}"
            assert end.given - prompts <= 1, "answered again"
            kept += end.before
    tell(
        f"disk full, {case.name}: with {', '.join(f'{share:.0%}' for share in case.shares)} of the"
        f" {needed / 1024:,.0f} kB free that it needs: exit 4 with one line each time, nothing"
        f" half-made left; with space again it completed ({kept} of {prompts * len(case.shares)}"
        " answers were given before, none twice)"
    )


def _half_made(path: Path) -> bool:
    """Return whether a file or folder was left by an unfinished write."""
    if path.name == checkpoint.NAME and (path.parent / "config.json").exists():
        return checkpoint.verify(path.parent) != []
    if path.name.startswith(".") and not path.name.endswith(".partial.jsonl"):
        return True
    if path.suffix == ".json":
        try:
            json.loads(path.read_text())
        except ValueError:
            return True
    return False
