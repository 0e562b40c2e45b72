"""Versions from which MLflow would load something else than the judged checkpoint."""

from __future__ import annotations

from tests.support.enforcement.tricks import Make
from tests.support.enforcement.world import GOOD, Candidate, World

FLAVOR = "flavors:\n  transformers: {{model_binary: {}}}\n"
"""An MLmodel file that names the folder to load."""


def judged_with(path: str, content: str) -> Make:
    """Return a version with one more file, which the gate was asked to sign with the others."""

    def make(world: World) -> Candidate:
        candidate = world.register(GOOD, added={path: content})
        world.gate(candidate)
        return candidate

    return make
