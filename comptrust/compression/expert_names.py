"""Quantized experts in the files: saved one by one, under the names that transformers reads.

In memory transformers keeps all experts of a block together, so it splits or joins them when it
saves or loads a model, by a conversion that each family has, or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

PARTS = {
    "gate_up_proj": ("gate_proj", "up_proj"),
    "up_proj": ("up_proj",),
    "down_proj": ("down_proj",),
}
"""Parameter of all experts -> linear layers of each."""
ONE = re.compile(r"experts\.\*\.(\w+)\.weight$")
"""An expert's weight as a conversion names it."""


def conversions(config: PreTrainedConfig) -> list[Any] | None:
    """Return what turns the names of single experts in memory into those of the files.

    None if the family has no files with single experts, so that quantized ones cannot be read.
    """
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming

    ours: list[Any] = []
    single = False
    for kind in (config.model_type, config.get_text_config().model_type):
        ours, single = [], False
        for rule in get_checkpoint_conversion_mapping(kind) or []:
            sources = [ONE.search(pattern) for pattern in rule.source_patterns]
            if not isinstance(rule, WeightConverter) or not all(sources):
                ours.append(rule)
                continue
            single = True
            parts = PARTS[rule.target_patterns[0].rpartition(".")[2]]
            ours += [
                WeightRenaming(rf"\.experts\.(\d+)\.{source[1]}\.", rf".experts.\1.{part}.")
                for source, part in zip(sources, parts, strict=True)
                if source
            ]
        if single:
            return ours
    return None


def prepare(model: Any, names: Iterable[str], *, rounded: bool) -> None:
    """Make a model with quantized experts ready to be compared and saved.

    With `rounded`, experts compute as transformers will: it unpacks them to bfloat16 when it loads
    the compressed-tensors format, whatever the dtype of the model.
    """
    import torch
    from compressed_tensors.quantization import disable_quantization, forward_quantize

    model._weight_conversions = conversions(model.config)
    for name in names if rounded else ():
        for layer in model.get_submodule(name).modules():
            if (scheme := getattr(layer, "quantization_scheme", None)) is not None:
                with torch.no_grad():
                    values = forward_quantize(layer, layer.weight, "weight", scheme.weights)
                    layer.weight.copy_(values.to(torch.bfloat16))
                disable_quantization(layer)
