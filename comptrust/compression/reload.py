"""Check a reloaded model: does it compute what the saved one did, and what do its weights say?"""

from collections.abc import Collection
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from comptrust.compression import targets
from comptrust.compression.base import Pattern
from comptrust.errors import ServiceError
from comptrust.records import ReloadCheck

FIXED_PROMPTS = (
    "The capital of France is",
    "Water boils at one hundred degrees. A kettle on the stove begins to",
    "Question: is it wrong to take what belongs to somebody else? Answer:",
)
TOLERANCE = 0.05
"""Largest logit difference allowed after reloading.

The model in memory was rounded to the saved 16 bits before it was compared.
"""


def logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[torch.Tensor]:
    """Return the logits of the fixed prompts, one tensor of shape (length, vocabulary) each.

    All prompts are computed in one batch, because a model with packed weights may unpack them on
    every call. Padding goes behind the prompts, where causal attention does not look. It is a
    token of a prompt: the embedding of a padding token may be zero, which NVFP4 turns into NaN.
    """
    rows = [tokenizer(text, return_tensors="pt")["input_ids"][0] for text in FIXED_PROMPTS]
    with torch.no_grad():
        model(rows[0][None, :1].to(model.device))  # dynamic RoPE forgets longer texts only then
        padded = pad_sequence(rows, batch_first=True, padding_value=int(rows[0][0]))
        output = model(padded.to(model.device)).logits
    return [output[number, : len(row)].float().cpu() for number, row in enumerate(rows)]


def compare(before: list[torch.Tensor], after: list[torch.Tensor]) -> ReloadCheck:
    """Compare the logits before saving and after reloading.

    Raises ServiceError if they differ or are not finite.
    """
    finite(before)
    difference = max(float((old - new).abs().max()) for old, new in zip(before, after, strict=True))
    if not difference <= TOLERANCE:  # also true of NaN
        raise ServiceError(
            "The reloaded checkpoint does not compute what the saved model did: logits differ by"
            f" {difference:.3g} (tolerance {TOLERANCE}). It was removed."
        )
    return ReloadCheck(
        max_logit_difference=difference,
        tolerance=TOLERANCE,
        n_tokens=sum(len(row) for row in before),
    )


def finite(rows: list[torch.Tensor]) -> ReloadCheck:
    """Check the logits of a model that there is nothing to compare with.

    Raises ServiceError if they are not finite.
    """
    if not all(bool(row.isfinite().all()) for row in rows):
        raise ServiceError(
            "The model computes, but its logits are not finite numbers, so it cannot be used."
            " Nothing was kept."
        )
    return ReloadCheck(
        max_logit_difference=None, tolerance=TOLERANCE, n_tokens=sum(len(row) for row in rows)
    )


def zeros(
    model: PreTrainedModel, names: Collection[str], *, structure: str | None
) -> tuple[float, str | None]:
    """Count the zeros in the matrices of these names, as `targets.matrices` names them.

    Returns their share, 0-1, and the name of the first that does not have the structure. Packed
    layers must have computed once, which unpacks them. Raises ServiceError for a layer whose
    weights cannot be read.
    """
    if not names:
        return 0.0, None
    matrices, modules = targets.matrices(model), dict(model.named_modules())
    pattern = Pattern.parse(structure)
    count, total, off_pattern = 0, 0, None
    for name in names:
        weight = matrices[name] if name in matrices else _weight(modules.get(name), name)
        count += weight.numel() - int(weight.count_nonzero())
        total += weight.numel()
        if pattern and off_pattern is None and not pattern.fits(weight):
            off_pattern = name
    return count / max(1, total), off_pattern


def _weight(layer: Any, name: str) -> torch.Tensor:
    """Return a layer's weights as floating-point numbers, shape (out, in)."""
    weight: torch.Tensor | None = getattr(layer, "weight", None)
    if weight is not None and weight.is_floating_point() and weight.dim() == 2:
        return weight
    if hasattr(layer, "dequantize_weight"):
        return torch.as_tensor(layer.dequantize_weight().T)
    raise ServiceError(
        f"The weights of layer {name} ({type(layer).__name__}) cannot be read, so they cannot be"
        " measured."
    )
