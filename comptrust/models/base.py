"""The interface of a backend, which answers prompts, and helpers to build its answers."""

import hashlib
import math
import os
import platform
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from comptrust.errors import UserError
from comptrust.models.reasoning import split
from comptrust.plugins import Registry
from comptrust.records import GIVEN, NOT_FINITE, UNFINISHED, Generation, Prompt
from comptrust.serving_cost import ServingCost

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Tokenizer: TypeAlias = "PreTrainedTokenizerBase"
Loaded: TypeAlias = "tuple[PreTrainedModel, PreTrainedTokenizerBase]"
DECODING = (
    "decoded after the prompt; the prompt, a reasoning block and one leading space cut off;"
    " a block without an end is no answer"
)
"""How every backend turns tokens into a text; part of the rendering digest."""
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

    def expect(self, prompts: Sequence[Prompt]) -> None:  # noqa: B027 - most keep nothing
        """Take note of prompts that may be asked, a few at a time and in whatever order.

        A backend may keep what they share from one call to the next.
        """

    @abstractmethod
    def render(self, prompt: Prompt) -> str:
        """Return the exact text that the model sees for this prompt."""

    def fits(self, prompt: Prompt, text: str) -> bool:
        """Return whether the rendered prompt and its answer fit the model's context window.

        By default the window is not known, and every prompt is sent.
        """
        return True

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """Return provenance: backend name, template name, dtype, versions."""

    def cost(self) -> ServingCost | None:
        """Measure, within seconds, what it costs to serve the model; None if that is not known."""
        return None

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
    rendered: str = "",
    reasoning: Sequence[str] = (),
) -> Generation:
    """Build the answer to a prompt from what the model wrote after it.

    Reasoning is cut off and kept; if it has no end, there is no answer. Then one leading space is
    cut off, and the mark of a last character that the length limit cut in two, which some servers
    leave out. `rendered` is the prompt's text, which may open a block; `reasoning` is what a server
    has cut off already.
    """
    # A lone surrogate, which a server may send, could not be written as UTF-8.
    valid = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    pairs = zip(valid, finish_reasons, strict=True)
    valid = [text.rstrip("\ufffd") if reason == "length" else text for text, reason in pairs]
    thoughts, reasons = list(reasoning) or [""] * len(valid), list(finish_reasons)
    if not prompt.choices:
        parts = [split(text, prompt=rendered) for text in valid]
        valid = [part.answer.removeprefix(" ") for part in parts]
        for place, (part, cut) in enumerate(zip(parts, thoughts, strict=True)):
            thoughts[place] = part.thought or cut
            ended = part.finished and not (cut and not part.answer.strip())
            if not ended and reasons[place] in GIVEN:
                reasons[place] = UNFINISHED
    return Generation(
        dimension=prompt.dimension,
        scenario=prompt.scenario,
        id=prompt.id,
        texts=tuple(valid),
        target=prompt.target,
        extra={**prompt.extra, **(extra or {})},
        finish_reasons=tuple(reasons),
        reasoning=tuple(thoughts) if any(thoughts) else (),
    )


def unanswered(prompt: Prompt, reason: str) -> Generation:
    """Build the record of a prompt without an answer, such as one that is TOO_LONG."""
    n = 1 if prompt.choices else prompt.sampling.n
    return generation(prompt, texts=[""] * n, finish_reasons=[reason] * n)


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
    et al. 2021, "Calibrate Before Use", section 4); the answer keeps both. Without finite
    log-likelihoods there is no answer.
    """
    if not all(map(math.isfinite, (*logliks, *reference))):
        return unanswered(prompt, NOT_FINITE)
    kept: dict[str, object] = {}
    if reference:
        for name, values in (("after_prompt", logliks), ("after_reference", reference)):
            pairs = zip(prompt.choices, values, strict=True)
            kept[name] = {choice.text: round(value, 5) for choice, value in pairs}
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
