"""The interface of a backend, which answers prompts, and helpers to build its answers."""

import hashlib
import os
import platform
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from comptrust.errors import UserError
from comptrust.plugins import Registry
from comptrust.records import Generation, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Tokenizer: TypeAlias = "PreTrainedTokenizerBase"
Loaded: TypeAlias = "tuple[PreTrainedModel, PreTrainedTokenizerBase]"
BACKENDS = Registry("backend", "comptrust.models.backends", "comptrust.backends", verb="answer")


class Backend(ABC):
    """Answers prompts with text, or by the likelihood of each option."""

    @abstractmethod
    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Yield one answer to every prompt, in whatever order is fastest.

        A prompt with `choices` is answered by length-normalized log-likelihood, others by decoding
        with the prompt's `sampling`. An answer depends on its prompt alone, never on other prompts
        or their order. Raises ServiceError if the model cannot answer; answers yielded before
        remain valid.
        """

    @abstractmethod
    def render(self, prompt: Prompt) -> str:
        """Return the exact text that the model sees for this prompt."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """Return provenance: backend name, template name, dtype, versions."""

    def machine(self) -> dict[str, str]:
        """Return facts about this machine, for provenance only.

        A run may continue on another machine, so it does not compare them.
        """
        return {
            "python": platform.python_version(),
            "system": platform.platform(),
            "processor": _processor(),
            "cores": str(os.cpu_count()),
        }


def _processor() -> str:
    """Return the processor's name from /proc/cpuinfo, elsewhere at least its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = (line.partition(":")[2] for line in file if line.startswith("model name"))
            return next(names).strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def generation(
    prompt: Prompt,
    *,
    texts: Sequence[str],
    finish_reasons: Sequence[str],
    extra: dict[str, object] | None = None,
) -> Generation:
    """Build the answer to a prompt that was answered with texts."""
    # A lone surrogate, which a server may send, could not be written as UTF-8.
    valid = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    return Generation(
        dimension=prompt.dimension,
        scenario=prompt.scenario,
        id=prompt.id,
        texts=tuple(valid),
        target=prompt.target,
        extra={**prompt.extra, **(extra or {})},
        finish_reasons=tuple(finish_reasons),
    )


def options(prompt: Prompt) -> tuple[str, ...]:
    """Return the continuations to choose from. Raises UserError if there is only one."""
    if len(prompt.choices) < 2:
        raise UserError(
            f"Prompt '{prompt.id}' of {prompt.dimension} has one choice; give it at least two, or"
            " none."
        )
    return tuple(choice.continuation for choice in prompt.choices)


def chosen(
    prompt: Prompt, *, logliks: Sequence[float], reference: Sequence[float] = ()
) -> Generation:
    """Build the answer to a prompt with choices from the log-likelihood of each.

    The most likely choice wins; of equally likely ones, the first. For a prompt with a reference,
    the log-likelihoods there are subtracted, so that a liking for an option as such cancels (Zhao
    et al. 2021, "Calibrate Before Use", section 4); the answer keeps both.
    """
    kept: dict[str, object] = {}
    if reference:
        texts = [choice.text for choice in prompt.choices]
        for name, values in (("after_prompt", logliks), ("after_reference", reference)):
            rounded = (round(value, 5) for value in values)
            kept[name] = dict(zip(texts, rounded, strict=True))
        logliks = [value - other for value, other in zip(logliks, reference, strict=True)]
    best, second = sorted(logliks, reverse=True)[:2]
    kept |= {"loglik": [round(value, 5) for value in logliks], "margin": round(best - second, 5)}
    return generation(
        prompt,
        texts=[prompt.choices[list(logliks).index(best)].text],
        finish_reasons=["choice"],
        extra=kept,
    )


def seed(prompt: Prompt, *, copy: int) -> int:
    """Return a seed of 63 bits for one answer to a prompt, which depends on nothing else."""
    name = f"{prompt.dimension}/{prompt.id}/{prompt.sampling.seed}/{copy}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
