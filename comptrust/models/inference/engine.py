"""What an inference engine does. README.md explains both engines."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from transformers import PreTrainedModel

from comptrust.models.inference.sampling import Request
from comptrust.models.inference.spans import Ids


class Engine(ABC):
    """Computes option likelihoods and generated tokens with one model.

    The result for a row does not depend on the rows computed with it, except for rounding.
    """

    default_batch_size: ClassVar[int]
    """Rows computed at once, unless another number is given."""

    def __init__(self, model: PreTrainedModel, *, batch_size: int | None, ends: set[int]) -> None:
        """Compute `batch_size` rows at once, and end a text at one of the tokens `ends`."""
        self.model, self.ends = model, ends
        self.batch_size = batch_size or self.default_batch_size

    @abstractmethod
    def logliks(self, pairs: Iterable[tuple[Ids, Ids]]) -> dict[tuple[Ids, Ids], float]:
        """Return the mean log-likelihood per token of each option, given pairs (context, option).

        Contexts and options are token ids; neither may be empty.
        """

    @abstractmethod
    def decode(self, requests: Sequence[Request]) -> Iterator[tuple[Request, list[int]]]:
        """Yield each request with its new tokens, including the one that ended it."""

    def has_ended(self, request: Request, tokens: Sequence[int]) -> bool:
        """Tell whether these new tokens of a request are complete."""
        return tokens[-1] in self.ends or len(tokens) == request.prompt.sampling.max_tokens
