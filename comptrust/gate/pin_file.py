"""Write a pinned suite into a policy file as text, so that its comments and order stay."""

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.gate import policy as policies
from comptrust.gate.pins import PinnedSuite

FIELDS = ("digest", "content", "source")


def write(
    name_or_path: str,
    pin: PinnedSuite,
    items: Mapping[str, int],
    *,
    replace: bool,
    same: Callable[[str], bool],
) -> bool:
    """Add a pinned suite to a policy file, or update it; return whether the file changed.

    `items` are those of the suite, by dimension; `same` tells whether a digest is of that suite.
    Another copy of a suite of the same name gives way only with `replace`. Raises UserError for a
    shipped policy, for fewer items than the policy asks for, and for a file that cannot be edited.
    """
    path = Path(name_or_path).resolve()
    if name_or_path in policies.names() or path.is_relative_to(policies.FOLDER.resolve()):
        shipped = policies.FOLDER / f"{path.stem}.yaml"
        raise UserError(
            f"{name_or_path} is shipped with comptrust, and an upgrade would overwrite it. Copy it"
            f" (cp {shipped} mine.yaml) and pin the suite in the copy."
        )
    before = policies.load(name_or_path)
    alike = [place for place, own in enumerate(before.suites) if own.name == pin.name]
    exact = [place for place in alike if same(before.suites[place].digest)]
    if alike and not exact and not (replace and len(alike) == 1):
        held = ", ".join(before.suites[place].digest[:12] for place in alike)
        advice = "count this one instead with --replace" if len(alike) == 1 else "edit the file"
        raise UserError(
            f"{path} counts another copy of suite {pin.name} ({held}, not {pin.digest[:12]})."
            f" Evaluations on that copy would no longer pass: keep it, or {advice}."
        )
    place = next(iter(exact or alike), None)
    listed = list(before.suites)
    if place is None:
        listed.append(pin)
    else:
        least = listed[place].items_at_least
        if few := [name for name in least if items.get(name, 0) < least[name]]:
            raise UserError(
                f"{path} asks for {least[few[0]]} items of {few[0]}, but this suite has"
                f" {items.get(few[0], 0)}; questions that repeat count once. Use other data or"
                " lower items_at_least."
            )
        kept = {"items_at_least": least, "source": pin.source or listed[place].source}
        listed[place] = pin.model_copy(update=kept)
    if listed == list(before.suites):
        return False
    text = _edited(config.read_text(path, max_bytes=config.MAX_YAML_BYTES), pin, place)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "policy.yaml"
        draft.write_text(text, encoding="utf-8")
        try:
            sound = policies.load(str(draft)) == dataclasses.replace(before, suites=tuple(listed))
        except UserError:
            sound = False
    if not sound:
        raise UserError(f"{path} cannot be edited safely. Add by hand: suites: [{_flow(pin)}]")
    mode = path.stat().st_mode
    digests.write_atomic(path, text)
    os.chmod(path, mode)
    return True


def _edited(text: str, pin: PinnedSuite, place: int | None) -> str:
    """Return a policy's text with a pinned suite at a place in `suites:`, or at its end."""
    root: Any = yaml.compose(text, config.LOADER)
    suites: Any = next((value for key, value in root.value if key.value == "suites"), None)
    fields = _fields(pin)
    if place is not None:
        entry = suites.value[place]
        held = {key.value: value for key, value in entry.value}
        edits = [
            (held[name].start_mark.index, held[name].end_mark.index, fields[name])
            for name in FIELDS
            if name in held and name in fields
        ]
        gap = ", " if entry.flow_style else f"\n{' ' * entry.start_mark.column}"
        end = held["digest"].end_mark.index
        end = end if entry.flow_style else _line_end(text, end)
        added = [f"{gap}{name}: {fields[name]}" for name in FIELDS if name in fields.keys() - held]
        edits.append((end, end, "".join(added)))
    elif suites is None and root.flow_style:
        end = root.end_mark.index - 1
        edits = [(end, end, f", suites: [{_flow(pin)}]")]
    elif suites is None:
        start = "" if text.endswith("\n") else "\n"
        edits = [(len(text), len(text), f"{start}suites:{_block(pin, 2)}\n")]
    elif suites.flow_style:
        end = suites.end_mark.index - 1
        edits = [(end, end, f"{', ' if suites.value else ''}{_flow(pin)}")]
    else:
        end = _line_end(text, _last(suites).end_mark.index)
        edits = [(end, end, _block(pin, suites.start_mark.column))]
    # Later places first, so that the earlier ones stay where they are.
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _fields(pin: PinnedSuite) -> dict[str, str]:
    fields = pin.model_dump(include={"name", *FIELDS}, exclude_none=True)
    return {name: json.dumps(value, ensure_ascii=False) for name, value in fields.items()}


def _flow(pin: PinnedSuite) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in _fields(pin).items()) + "}"


def _block(pin: PinnedSuite, indent: int) -> str:
    lines = (f"\n{' ' * (indent + 2)}{name}: {value}" for name, value in _fields(pin).items())
    return "".join(lines).replace(f"\n{' ' * indent}  ", f"\n{' ' * indent}- ", 1)


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _last(node: Any) -> Any:
    """Return the last scalar of a node; the end of a block also has the comments after it."""
    while isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return node
