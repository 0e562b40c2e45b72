"""Provenance: which code, prompts, scorers and packages a scorecard comes from."""

import functools
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

from comptrust import __version__, digests
from comptrust.records import Suite

PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "compressed-tensors", "numpy",
    "scipy", "scikit-learn", "alt-profanity-check",
)  # fmt: skip
"""Packages whose versions can change answers or scores."""


def of(suite: Suite) -> dict[str, str]:
    """Return the versions of this code, the prompts, the scorers and the packages."""
    by_dimension = suite.by_dimension()
    prompts = {
        name: [prompt.model_dump(mode="json") for prompt in by_dimension.get(name, ())]
        for name in suite.required
    }
    return {
        "code_version": __version__,
        "code_commit": commit(),
        "data_revision": suite.revision,
        **{f"prompts/{name}": digests.of_value(values) for name, values in prompts.items()},
        **{f"scorer/{name}": scorer for name, scorer in suite.scorers.items()},
        **{name: version(name) for name in PACKAGES},
    }


@functools.cache
def commit() -> str:
    """Return the commit of this code, with a plus if it was changed since, else `unknown`."""
    folder = Path(__file__).parents[2]
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        if not (folder / ".git").exists() or project["project"]["name"] != "comptrust":
            return "unknown"
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, ValueError, LookupError, TypeError, subprocess.CalledProcessError):
        return "unknown"
