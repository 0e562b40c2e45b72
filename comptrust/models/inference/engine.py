"""What an inference engine does, and which one a model gets. README.md explains both engines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch

from comptrust.models.inference.packed import Packed
from comptrust.models.inference.padded import Padded
from comptrust.models.inference.reading import Reader
from comptrust.models.inference.sampling import Request
from comptrust.models.inference.spans import Ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGIT_TOLERANCE = 1e-3
"""Largest difference between logits, as a share of the largest logit, that counts as rounding."""


class Engine(Protocol):
    """Computes option likelihoods and generated tokens with one model.

    The result for a row does not depend on the rows computed with it, except for rounding.
    """

    def logliks(self, pairs: Iterable[tuple[Ids, Ids]]) -> dict[tuple[Ids, Ids], float]:
        """Return the mean log-likelihood per token of each option, given pairs (context, option).

        Contexts and options are token ids; neither may be empty.
        """
        ...

    def decode(self, requests: Sequence[Request]) -> Iterator[tuple[Request, list[int]]]:
        """Yield each request with its new tokens, including the one that ended it."""
        ...


def choose(model: PreTrainedModel, *, batch_size: int | None, ends: set[int]) -> Engine:
    """Return the fastest engine that computes this model correctly.

    It computes `batch_size` rows at once (None: its own default) and ends a text at one of the
    tokens `ends`.
    """
    engine = Packed if suits_packed(model) else Padded
    return engine(model, batch_size=batch_size, ends=ends)


def suits_packed(model: PreTrainedModel) -> bool:
    """Tell whether the packed engine works for a model.

    The model must be on a CPU, and on two short rows the engine's logits must equal those of
    transformers.
    """
    if model.device.type != "cpu" or not model._supports_attention_backend:
        return False
    # Two rows that share 32 tokens: enough for the reader to compute the beginning separately.
    limits = {(*range(1, 33), *range(first, 40)): 32 for first in (35, 39)}
    reader = Reader(model, limits)
    try:
        packed = {
            row: logits[-1] for row, logits in reader.read(limits, keep=dict.fromkeys(limits, 1))
        }
    # another kind of attention, or a model that does not pass `step` on to its layers
    except (NotImplementedError, TypeError, AttributeError):
        return False
    plain: Any = model
    for row, logits in packed.items():
        with torch.inference_mode():
            expected = plain(torch.tensor([row])).logits[0, -1].float()
        tolerance = LOGIT_TOLERANCE * float(expected.abs().max())
        if not torch.allclose(logits, expected, rtol=0, atol=tolerance):
            return False
    return True
