"""Facts about models: the paper's own (presets.yaml), and the license that a page states."""

import contextlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from comptrust import config
from comptrust.errors import UserError
from comptrust.records import Recipe, Record

FIELDS = ("license", "license_name", "license_link")
BUILTIN = {"builtin:smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Builtin model -> its Hugging Face id."""
OF_BUILTIN = {"license": "apache-2.0"}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
PAGE = "README.md"
MAX_PAGE_BYTES = 1 << 20


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


def hub_id(base_model: str) -> str | None:
    """Return the Hugging Face id of a dense source; None for a folder."""
    if base_model in BUILTIN:
        return BUILTIN[base_model]
    is_id = HUB_ID.fullmatch(base_model) and not config.path_of(base_model).is_dir()
    return base_model if is_id else None


def license_of(recipe: Recipe, *, folder: Path) -> dict[str, str]:
    """Return `license` and, if stated, `license_name` and `license_link`; empty if unknown.

    The page in the checkpoint's `folder` counts first, then that of the dense source: in its
    folder or in the cache of Hugging Face. Nothing is fetched.
    """
    base = recipe.base_model
    if base in BUILTIN:
        return OF_BUILTIN
    pages = [folder / PAGE, config.path_of(base) / PAGE, _cached_page(base, recipe.revision)]
    for page in filter(None, pages):
        if page.is_file() and (stated := _stated(page)):
            return stated
    preset = table().get(base)
    if preset and preset.license_id:
        return {"license": preset.license_id}
    return {"license": "other", "license_name": preset.license} if preset else {}


def _stated(page: Path) -> dict[str, str]:
    """Return what the YAML front matter of a model's page says of its license, if anything."""
    fields: Any = None
    with contextlib.suppress(UserError):  # a broken page states nothing
        text = config.read_text(page, max_bytes=MAX_PAGE_BYTES)
        if match := re.match(r"---\n(.*?)\n---(\n|$)", text, re.DOTALL):
            fields = config.yaml_value(match[1], where=str(page))
    if not isinstance(fields, dict) or not isinstance(fields.get("license"), str):
        return {}
    return {name: fields[name] for name in FIELDS if isinstance(fields.get(name), str)}


def _cached_page(base: str, revision: str | None) -> Path | None:
    if hub_id(base) is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    page = try_to_load_from_cache(base, PAGE, revision=revision)
    return Path(page) if isinstance(page, str) else None
