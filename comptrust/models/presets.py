"""What is known of the paper's models: which commit, which chat format, which license."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from comptrust import config
from comptrust.records import Record


class Preset(Record):
    """One model by its Hugging Face id."""

    revision: str
    """Commit of the repository."""
    template: str
    """Name of the chat format that it was trained on; `plain` for a base model."""
    license: str
    """What has to be known before it is used."""


@cache
def table() -> dict[str, Preset]:
    """Return all presets, Hugging Face id -> preset."""
    path = Path(__file__).with_name("presets.yaml")
    rows = yaml.safe_load(config.read_text(path))
    return {name: config.parse(row, Preset, where=f"{path}, {name}") for name, row in rows.items()}


def template(name: str | None) -> str | None:
    """Return the chat format of a model that is a preset, None for any other: it brings its own."""
    found = table().get(name or "")
    return found.template if found else None


def revision(name: str) -> str | None:
    """Return the commit of a model that is a preset, None for any other."""
    found = table().get(name)
    return found.revision if found else None
