"""`pip install comptrust[verify]` in a fresh environment: few packages, and all that verifies.

These tests build an environment (and need a network), so `make test-install` runs them apart.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import bundles, environments
from tests.support.environments import Team

pytestmark = pytest.mark.install

MOST_PACKAGES = 14
"""With comptrust itself."""
MOST_SECONDS = 0.5
"""For all that the command imports."""
ABSENT = ("torch", "mlflow", "numpy", "pandas", "requests")
IMPORT = """
import time
start = time.perf_counter()
import comptrust.cli.app, comptrust.cli.commands.verify, comptrust.claims.bundles
print(time.perf_counter() - start)
"""


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and its extra `verify`."""
    wheel = environments.wheel(tmp_path_factory.mktemp("wheel"))
    return environments.install(tmp_path_factory.mktemp("light"), f"{wheel}[verify]")


@pytest.fixture
def here(light: Path, tmp_path: Path) -> Team:
    return Team(light, tmp_path)


def test_it_installs_few_packages_and_none_of_the_heavy_ones(here: Team) -> None:
    names = here.python(
        "import importlib.metadata as m; print(*{d.metadata['Name'] for d in m.distributions()})"
    )
    installed = set(names.split()) - {"pip", "setuptools"}  # what every new environment has
    assert "comptrust" in installed and len(installed) <= MOST_PACKAGES, installed
    code = f"import importlib.util; print([n for n in {ABSENT} if importlib.util.find_spec(n)])"
    assert here.python(code).strip() == "[]"


def test_it_imports_quickly(here: Team) -> None:
    assert min(float(here.python(IMPORT)) for _ in range(3)) < MOST_SECONDS


@pytest.mark.parametrize(
    "words",
    [
        "verify models:/tiny/1",
        "gate models:/tiny/1",
        "run --method gptq --bits 4",
        "export models:/tiny/1 out",
        "serve",
        "sweep smoke",
    ],
)
def test_a_command_that_needs_the_platform_says_what_to_install(words: str, here: Team) -> None:
    [line] = here.run(*words.split(), code=2).strip().splitlines()
    assert "pip install 'comptrust[platform]'" in line


def test_it_verifies_a_bundle_and_notices_one_flipped_bit(here: Team) -> None:
    trusted = bundles.write(here.folder / "bundle", here.folder / "keys")
    words = ("verify", "bundle", "--policy-digest", bundles.POLICY, "--keys", trusted)
    assert "verdict: pass" in here.run(*words)
    for name in ("model/model.safetensors", "scorecard.json", "README.md"):
        bundles.flip(here.folder / "bundle" / name)
        assert f"changed: {name} was changed" in here.run(*words, code=1)
        bundles.flip(here.folder / "bundle" / name)
    here.run(*words[:2], "--policy-digest", "0" * 64, "--keys", trusted, code=3)
    assert "is not a bundle" in here.run("verify", trusted, "--keys", trusted, code=2)
