"""Facts about the paper's models (presets.yaml): commit, chat format and license."""

from functools import cache
from pathlib import Path

import yaml

from comptrust import config
from comptrust.records import Record


class Preset(Record):
    """Facts about one model."""

    revision: str
    """Commit of the repository."""
    template: str
    """Chat format the model was trained on; `plain` for a base model."""
    license: str
    """What to know before using it."""
    license_id: str | None = None
    """The license's name on Hugging Face, if it has one."""


@cache
def table() -> dict[str, Preset]:
    """Return all presets by Hugging Face id."""
    path = Path(__file__).with_name("presets.yaml")
    return {
        name: config.parse(row, Preset, where=f"{path}, {name}")
        for name, row in yaml.safe_load(config.read_text(path)).items()
    }


def template(name: str | None) -> str | None:
    """Return a preset's chat format; None for any other model, which has its own."""
    preset = table().get(name or "")
    return preset.template if preset else None


def revision(name: str) -> str | None:
    """Return a preset's commit; None for any other model."""
    preset = table().get(name)
    return preset.revision if preset else None
