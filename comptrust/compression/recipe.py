"""Build a recipe from options, or say in one line which options do not fit together."""

from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from comptrust.compression.base import METHODS, SHARED, STRUCTURES, Method, Pattern, configured
from comptrust.errors import UserError, unknown
from comptrust.models import formats, gguf, servers
from comptrust.records import LayerBits, Recipe, SaveDtype

CALIBRATIONS = ("builtin", "self", "file:PATH", "hf:NAME:CONFIG:SPLIT:FIELD")
DEFAULT_SAMPLES = 64
SEEDS = 1 << 32
WHAT_IT_DOES = {"quantization": "quantizes", "pruning": "prunes", "dense": "leaves the model dense"}


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
    server: str | None = None,
    save_dtype: str = "source",
    layer_bits: Any = None,
) -> Recipe:
    """Check every option against the method and return the recipe.

    A group size of `auto` and the digests stay None until the model is known. Raises UserError
    for an unknown name, a bad value, options that do not fit together, or a checkpoint that
    `server` does not load.
    """
    chosen: type[Method] = METHODS.get(method)
    if not 0 <= seed < SEEDS:
        raise UserError(f"seed {str(seed)[:20]} is not a whole number from 0 to {SEEDS - 1}.")
    if str(format).startswith(formats.GGUF) != (method == "gguf"):
        raise UserError(
            f"Format '{format}' does not go with method {method}: the formats of llama.cpp,"
            f" {formats.GGUF}TYPE, are those of method gguf, which has no others."
        )
    if method == "gguf":
        of_format = gguf.bits(format.removeprefix(formats.GGUF))
        if bits not in (None, of_format):
            raise UserError(f"bits {bits} contradicts format {format}. Leave out bits.")
        bits = of_format
    stated = {
        "bits": bits,
        "group_size": None if group_size == "auto" else group_size,
        "sparsity": sparsity,
        "structure": structure,
    }
    for name, value in stated.items():
        if value is not None and name not in chosen.model_fields:
            raise UserError(
                f"{name} {value} cannot be used with method {method}, which"
                f" {WHAT_IT_DOES[chosen.kind]}. Leave it out."
            )
    parameters: dict[str, Any] = {}
    if chosen.kind == "quantization":
        if bits is None and len(chosen.bits_known) == 1:
            [bits] = chosen.bits_known
        if bits not in chosen.bits_known:
            problem = "needs bits" if bits is None else f"does not support bits {bits}"
            known = ", ".join(map(str, chosen.bits_known))
            raise UserError(f"Method {method} {problem}. Known: {known}.")
        parameters = {"bits": bits} | ({"structure": structure} if structure else {})
        if "group_size" in chosen.model_fields:
            usual = chosen.model_fields["group_size"].default
            parameters["group_size"] = _group_size(group_size) or usual
    elif chosen.kind == "pruning":
        parameters = _sparsity(sparsity, structure)
    fields = parameters | {"format": formats.check(format, method=method, bits=bits)}
    if save_dtype != "source":
        fields["save_dtype"] = _save_dtype(save_dtype, method=method, format=format)
    if layer_bits:
        rules = _layer_bits(layer_bits, method=method, chosen=chosen, format=format)
        fields["layer_bits"] = parameters["layer_bits"] = rules
    checked = configured(method, parameters=parameters, options=options or {})
    if checked.uses_texts:
        fields |= _calibration(calibration, calibration_samples)
    settings = {name: getattr(checked, name) for name in chosen.model_fields if name not in SHARED}
    if server:
        form = fields["format"]
        mixed = [rule.bits for rule in fields.get("layer_bits", ()) if rule.bits != "dense"]
        for width in (bits, *mixed):
            servers.check(server, method=method, bits=width, format=form, options=settings)
    return Recipe(base_model=model, method=method, seed=seed, options=settings, **fields)


def stated(*, model: str, method: str, **fields: Any) -> Recipe:
    """Return the recipe that a user states of a finished model; method `auto` leaves it open.

    Raises UserError as `build` does.
    """
    if method != "auto":
        return build(model=model, method=method, **fields)
    for name in ("sparsity", "structure"):
        if fields[name] is not None:
            raise UserError(f"{name} {fields[name]} cannot be used with method auto. Leave it out.")
    size = _group_size(fields["group_size"])
    return Recipe(
        base_model=model, method=method, bits=fields["bits"], group_size=size, seed=fields["seed"]
    )


def _group_size(value: str | int) -> int | None:
    if value == "auto":
        return None
    try:
        size = int(value)
    except (ValueError, TypeError, OverflowError):  # a recipe file may say null, a list or .inf
        size = 0
    if size < 1:
        raise UserError(f"group_size '{value}' is neither auto nor a positive whole number.")
    return size


def _layer_bits(
    rules: Any, *, method: str, chosen: type[Method], format: str
) -> tuple[LayerBits, ...]:
    if not getattr(chosen, "mixed", False):
        raise UserError(f"layer_bits cannot be used with method {method}. Leave it out.")
    if format != formats.DEFAULT:
        raise UserError(
            f"Format '{format}' holds the same bits in all layers. Leave out layer_bits, or use"
            f" format {formats.DEFAULT}."
        )
    try:
        read = TypeAdapter(tuple[LayerBits, ...]).validate_python(rules)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "layer_bits"
        raise UserError(
            f"layer_bits, {place}: {first['msg']} (got {str(first['input'])[:60]!r}). Write rules"
            " such as [{layers: ['*.down_proj'], bits: 8}]; bits may be dense."
        ) from error
    for rule in read:
        if rule.bits not in (*chosen.bits_known, "dense"):
            known = ", ".join(map(str, chosen.bits_known))
            raise UserError(
                f"layer_bits: method {method} does not support bits {rule.bits}. Known: {known}, or"
                " dense."
            )
    return read


def _sparsity(sparsity: float | None, structure: str | None) -> dict[str, Any]:
    structure = structure or "unstructured"
    if structure not in STRUCTURES:
        raise unknown("structure", structure, STRUCTURES)
    pattern = Pattern.parse(structure)
    share = 1 - pattern.kept / pattern.of if pattern else 0.5
    if pattern and sparsity not in (None, share):
        raise UserError(
            f"sparsity {sparsity} contradicts structure {structure}, which zeroes {share:g}."
            " Leave out sparsity."
        )
    share = share if sparsity is None else sparsity
    if not 0 < share < 1:
        raise UserError(
            f"sparsity {share} is not between 0 and 1. Give the share of weights that become"
            " zero, such as 0.5."
        )
    return {"sparsity": share, "structure": structure}


def _save_dtype(dtype: str, *, method: str, format: str) -> str:
    known = get_args(SaveDtype)
    if dtype not in known:
        raise unknown("save_dtype", dtype, ("source", *known))
    if method == "none" or (format != formats.DEFAULT and dtype != "float16"):
        what = "method none, which changes nothing" if method == "none" else f"format {format}"
        raise UserError(f"save_dtype {dtype} cannot be used with {what}. Leave it out.")
    return dtype


def _calibration(source: str, samples: int | None) -> dict[str, Any]:
    kind, _, rest = str(source).partition(":")
    if kind not in {"builtin", "self", "file", "hf"} or (kind in {"file", "hf"}) != bool(rest):
        raise unknown("calibration", source, CALIBRATIONS)
    count = DEFAULT_SAMPLES if samples is None else samples
    if type(count) is not int or count < 1:  # a sweep file may say 1.5, "many" or true
        raise UserError(f"calibration_samples {count} is not a positive whole number.")
    return {"calibration": source, "calibration_samples": count}
