"""What a folder needs to be loaded: a class of transformers, and a reader of its weights."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from comptrust.errors import UserError
from comptrust.models import formats, headers, memory, stored

SERVER = "Evaluate it through a server that reads it (backend openai)."
FLOATS = ("torch.float32", "torch.bfloat16", "torch.float16")
OFFLINE = {"weight_input", "weight_output"}
"""Places of transforms that are in the weights already."""
GONE = ("marlin-24", "sparse-bitmask", "sparse-24-bitmask")
"""Formats that compressed-tensors no longer reads."""
SCALES = ("_scale", "_zero_point", "_scale_inv", "_scales")
"""Endings of the names of parameters that a layout keeps in a dtype of its own."""


def text_class(config: Any) -> Any:
    """Return the Auto class of transformers whose models continue text for this config.

    A model that also takes images is loaded whole; only text is put into it. Raises UserError if
    transformers has no such model.
    """
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
    )

    kind: Any = type(config)
    images: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    # Some types have a class for the language model alone; the files may be of the whole model.
    whole = kind in images and images[kind].__name__ in (config.architectures or ())
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING and not whole:
        return AutoModelForCausalLM
    if kind in images:
        return AutoModelForImageTextToText
    raise UserError(
        f"transformers has no model of type '{config.model_type}' that continues a text, so it"
        " cannot be asked. Give a causal language model."
    )


def check(folder: Path) -> None:
    """Raise UserError if nothing here reads the folder's layout; at most some layers are read.

    transformers would warn of an unknown `quant_method` and take packed numbers for weights.
    """
    settings = memory.quantization(folder)
    if not settings:
        _check_floats(folder)
        return
    if formats.kind(folder):
        formats.check_layers(folder)
        stored.check(folder)
        return
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AutoHfQuantizer

    name = str(settings.get("quant_method"))
    sparsity = settings.get("sparsity_config") or {}
    form = str(sparsity.get("format", settings.get("format")))
    if form in GONE or (name == "compressed-tensors" and not settings.get("config_groups")):
        dense = " Its weights are dense: remove quantization_config." if form == "dense" else ""
        raise UserError(
            f"{folder} is in the format '{form}' of compressed-tensors, which it reads no longer."
            f"{dense or f' {SERVER}'}"
        )
    if name != "bitsandbytes" and name not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise UserError(
            f"{folder} is quantized with quant_method '{name}', which transformers does not read."
            f" {SERVER}"
        )
    try:
        AutoHfQuantizer.from_config(settings, pre_quantized=True).validate_environment(
            device_map=None
        )
    # each quantizer raises its own classes for settings or hardware that it does not support
    except Exception as error:
        raise UserError(
            f"{folder} is quantized with quant_method '{name}', which cannot be read here:"
            f" {' '.join(str(error).split())[:200].rstrip('.')}. {SERVER}"
        ) from error
    _check_transforms(folder, settings)
    stored.check(folder, wider=True)


def _check_transforms(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise UserError for rotations of activations (SpinQuant, QuIP), which are left out here."""
    groups = (settings.get("transform_config") or {}).get("config_groups") or {}
    for name, group in groups.items():
        places = {str(one.get("location")) for one in group.get("apply") or ()}
        if online := sorted(places - OFFLINE):
            raise UserError(
                f"{folder} rotates activations while it computes (transform_config, {name}:"
                f" {', '.join(online)}), which transformers leaves out. {SERVER}"
            )


def _check_floats(folder: Path) -> None:
    """Raise UserError for numbers of 8 bits or fewer that no quantization_config explains.

    transformers would take integers for weights, and floats without their scales.
    """
    for tensor in headers.tensors(folder):
        is_weight = len(tensor.shape) > 1 and tensor.name.endswith("weight")
        if is_weight and tensor.dtype in headers.CODES:
            raise UserError(
                f"{folder} holds {tensor.name} as {tensor.dtype}, and nothing says what its numbers"
                " stand for: config.json has no quantization_config. Fetch the model again."
            )


def check_source(folder: Path) -> None:
    """Raise UserError if a folder cannot be compressed because it is compressed already."""
    settings = memory.quantization(folder)
    if settings and settings.get("quant_method") not in memory.NATIVE:
        raise UserError(
            f"{folder} is quantized already ({settings.get('quant_method')}). Give the dense model"
            " that it was made from."
        )


def options(folder: Path) -> dict[str, Any]:
    """Return what `from_pretrained` needs to compute layouts of publishers at full precision."""
    from transformers.utils.quantization_config import FineGrainedFP8Config, Mxfp4Config

    kinds: dict[str, Any] = {"fp8": FineGrainedFP8Config, "mxfp4": Mxfp4Config}
    name = str(memory.quantization(folder).get("quant_method"))
    return {"quantization_config": kinds[name](dequantize=True)} if name in memory.NATIVE else {}


def unpack(model: Any, folder: Path, *, dtype: Any) -> None:
    """Unpack quantized layers now, and compute with all weights in the dtype of the model.

    compressed-tensors would unpack them on the first call, and some layouts to bfloat16 only.
    """
    name = memory.quantization(folder).get("quant_method")
    if hasattr(model, "ct_decompress_hook"):
        import torch
        from compressed_tensors.compressors.nvfp4 import base
        from compressed_tensors.utils import patch_attr

        # transformers leaves what a family names otherwise than its files at the files' dtype, and
        # weights unpack to the dtype of their scales
        for value in model.parameters():
            if str(value.dtype) in FLOATS:
                value.data = value.data.to(torch.promote_types(value.dtype, dtype))
        unpacked = partial(base.unpack_fp4_from_uint8, dtype=dtype)
        with patch_attr(base, "unpack_fp4_from_uint8", unpacked):
            model.hf_quantizer.compressor.decompress_model(model)
    elif name in memory.NATIVE:
        model.config.dequantized_from = f"{name}, as published"
        vars(model).pop("_weight_conversions", None)  # saving would quantize again
    else:
        return
    for key, value in model.named_parameters():
        if str(value.dtype) in FLOATS and not key.endswith(SCALES):
            value.data = value.data.to(dtype)
