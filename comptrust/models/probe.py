"""How far compression moved a model: perplexity on a text, and divergence from the dense model."""

from __future__ import annotations

import gc
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.errors import UserError
from comptrust.models import chat, loading
from comptrust.models.base import Loaded
from comptrust.models.cost import TEXT
from comptrust.models.sources import Source
from comptrust.records import Checkpoint, Dtype

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for each position of TEXT."""

    tokens: list[int]
    """The tokens that are predicted."""
    logits: torch.Tensor
    """Shape (tokens, vocabulary), in RAM."""


def predict(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Predictions:
    """Let a model read TEXT.

    The first token is predicted from the beginning-of-text token; a model without one starts with
    the second token.
    """
    import torch

    ids = tokenizer(chat.bos(tokenizer) + TEXT, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids], device=model.device)).logits[0, :-1]
    return Predictions(ids[1:], logits.cpu())


def metrics(predictions: Predictions, dense: Predictions | None) -> dict[str, float]:
    """Return `probe/perplexity` of a model and, given the dense model's predictions, `probe/kl`.

    Perplexity is exp of the mean negative log-likelihood per token. KL is the mean over all
    positions of KL(dense || compressed) of the next-token distribution, in nats. Raises UserError
    if the models do not share one vocabulary.
    """
    log_chances = predictions.logits.double().log_softmax(dim=-1)
    picked = log_chances[range(len(predictions.tokens)), predictions.tokens]
    values = {"probe/perplexity": math.exp(-picked.mean().item())}
    if dense is not None:
        if dense.tokens != predictions.tokens or dense.logits.shape != predictions.logits.shape:
            raise UserError(
                "The compressed and the dense model do not share one vocabulary, so their"
                " predictions cannot be compared. Check that one was made from the other."
            )
        reference = dense.logits.double().log_softmax(dim=-1)
        divergence = (reference.exp() * (reference - log_chances)).sum(dim=-1).mean().item()
        values["probe/kl"] = max(0.0, divergence)
    return values


@dataclass
class InMemory:
    """The models in memory while one checkpoint is made, probed and evaluated.

    Compression hands over the models that it has loaded, so each is loaded once. Of the dense model
    only the predictions are kept: two models are never in memory together.
    """

    source: Source
    wants_dense: bool
    """Whether to compare with the dense model."""
    loaded: Loaded | None = None
    """The finished checkpoint's model, once nothing else uses it any more."""
    predictions: Predictions | None = None
    """Of the dense model."""

    def dense(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Probe the dense model before it is compressed or freed."""
        self.predictions = predict(model, tokenizer)

    def probe(self, checkpoint: Checkpoint) -> dict[str, float]:
        """Return the metrics of the checkpoint; those of a dense one have no divergence."""
        if self.wants_dense and self.predictions is None:
            self.dense(*loading.load(self.source.path))  # freed before the next one is loaded
        self.loaded = self.loaded or loading.load(Path(checkpoint.path))
        return metrics(predict(*self.loaded), self.predictions)

    def take(self, checkpoint: Checkpoint, *, dtype: Dtype = "auto") -> Loaded:
        """Return the checkpoint's model, computing in this dtype, and let go of it."""
        loaded, self.loaded, self.predictions = self.loaded, None, None
        if loaded and dtype != "auto" and str(loaded[0].dtype) != f"torch.{dtype}":
            loaded = None  # frees it before the model is loaded once more
        return loaded or loading.load(Path(checkpoint.path), dtype=dtype)

    def release(self) -> None:
        """Let go of all models, so that a server can have the memory."""
        import torch

        self.loaded = self.predictions = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
