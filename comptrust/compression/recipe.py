"""Options become a recipe, or one clear line that says which of them do not fit together."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from comptrust.compression.base import STRUCTURES, get
from comptrust.errors import UserError, unknown
from comptrust.models import formats
from comptrust.records import Recipe

CALIBRATIONS = ("builtin", "self", "file:PATH", "hf:NAME")
DEFAULT_SAMPLES = 64
SEEDS = 1 << 32


def build(
    *,
    model: str,
    method: str,
    bits: int | None = None,
    sparsity: float | None = None,
    structure: str | None = None,
    group_size: str | int = "auto",
    calibration: str = "builtin",
    calibration_samples: int | None = None,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    format: str = formats.DEFAULT,
) -> Recipe:
    """Check every option against the method and return the recipe.

    The group size stays None when it is `auto`, and the digests stay None, until the model is at
    hand. Raises UserError for an unknown name or a combination that means nothing.
    """
    chosen = get(method)
    if not 0 <= seed < SEEDS:
        raise UserError(f"--seed {str(seed)[:20]} is not a whole number from 0 to {SEEDS - 1}.")
    fields: dict[str, Any] = {}
    if chosen.kind == "quantization":
        _refuse(method, "it quantizes", sparsity=sparsity, structure=structure)
        fields = {
            "bits": _bits(method, bits, chosen.bits_known),
            "group_size": _group_size(group_size),
        }
    else:
        kind = "it prunes" if chosen.kind == "pruning" else "it leaves the model dense"
        _refuse(method, kind, bits=bits, group_size=None if group_size == "auto" else group_size)
    if chosen.kind == "pruning":
        fields = _pattern(sparsity, structure)
    elif chosen.kind == "dense":
        _refuse(method, "it leaves the model dense", sparsity=sparsity, structure=structure)
    if chosen.calibrated:
        fields |= _calibration(calibration, calibration_samples)
    fields["format"] = formats.check(format, method=method, bits=fields.get("bits"))
    recipe = Recipe(
        base_model=model,
        method=method,
        seed=seed,
        options=_options(method, options or {}),
        **fields,
    )
    return recipe


def _options(method: str, options: dict[str, Any]) -> dict[str, Any]:
    shared = {"bits", "group_size", "sparsity", "structure"}
    known = {name: field for name, field in get(method).model_fields.items() if name not in shared}
    for name in options:
        if name not in known:
            raise unknown(f"option of {method}", name, known)
    required = {"bits": 4, "group_size": 128} if "bits" in get(method).model_fields else {}
    try:
        checked = get(method)(**required, **options)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"Option {first['loc'][0]} of {method}: {first['msg']} (got {first['input']!r})."
        ) from error
    return {name: getattr(checked, name) for name in known}


def _refuse(method: str, because: str, **given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise UserError(
                f"--{name.replace('_', '-')} {value} does not go with method {method}: {because}."
                " Leave it out."
            )


def _bits(method: str, bits: int | None, known: tuple[int, ...]) -> int:
    names = ", ".join(str(value) for value in known)
    if bits is None:
        raise UserError(f"Method {method} needs --bits. Known: {names}.")
    if bits not in known:
        raise UserError(f"Method {method} has no --bits {bits}. Known: {names}.")
    return bits


def _group_size(value: str | int) -> int | None:
    if value == "auto":
        return None
    try:
        size = int(value)
    except (ValueError, TypeError, OverflowError):  # a recipe file may say null, a list or .inf
        size = 0
    if size < 1:
        raise UserError(f"--group-size '{value}' is neither auto nor a positive whole number.")
    return size


def _pattern(sparsity: float | None, structure: str | None) -> dict[str, Any]:
    structure = structure or "unstructured"
    if structure not in STRUCTURES:
        raise unknown("structure", structure, STRUCTURES)
    if structure == "unstructured":
        share = 0.5 if sparsity is None else sparsity
        if not 0 < share < 1:
            raise UserError(
                f"--sparsity {share} is not between 0 and 1. Give the share of weights that become"
                " zero, such as 0.5."
            )
        return {"sparsity": share, "structure": structure}
    kept, of = (int(part) for part in structure.split(":"))
    share = 1 - kept / of
    if sparsity is not None and sparsity != share:
        raise UserError(
            f"--sparsity {sparsity} contradicts --structure {structure}, which zeroes {share:g}."
            " Leave out --sparsity."
        )
    return {"sparsity": share, "structure": structure}


def _calibration(source: str, samples: int | None) -> dict[str, Any]:
    kind, _, rest = str(source).partition(":")
    if kind not in {"builtin", "self", "file", "hf"} or (kind in {"file", "hf"}) != bool(rest):
        raise unknown("calibration", source, CALIBRATIONS)
    count = DEFAULT_SAMPLES if samples is None else samples
    if type(count) is not int or count < 1:  # a sweep file may say 1.5, "many" or true
        raise UserError(f"--calibration-samples {count} is not a positive whole number.")
    return {"calibration": source, "calibration_samples": count}
