"""What a backend is: something that answers prompts."""

from __future__ import annotations

import os
import platform
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from comptrust.plugins import Registry
from comptrust.records import Generation, Prompt

BACKENDS = Registry("backend", "comptrust.models.backends", "comptrust.backends", verb="answer")


class Backend(ABC):
    """Answers prompts by text (`generate`) or by the likelihood of each option (`choose`)."""

    @abstractmethod
    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Answer every prompt once, in whatever order is fastest, as each answer is ready.

        A prompt with `choices` is answered by length-normalized log-likelihood, one without by
        decoding as its `sampling` says. An answer depends on its prompt alone, never on the others
        or their order. Raises ServiceError if the model cannot answer (what was yielded before
        stays valid).
        """

    @abstractmethod
    def render(self, prompt: Prompt) -> str:
        """Return the exact text that the model sees for this prompt."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """Return provenance: backend name, template name, dtype, versions."""

    def machine(self) -> dict[str, str]:
        """Return facts of the machine that asks, for provenance alone: a run may go on
        elsewhere."""
        return {
            "python": platform.python_version(),
            "system": platform.platform(),
            "processor": _processor(),
            "cores": str(os.cpu_count()),
        }


def _processor() -> str:
    """Return the processor's name, as Linux tells it, or at least its kind."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def generation(
    prompt: Prompt,
    *,
    texts: Sequence[str],
    finish_reasons: Sequence[str],
    extra: dict[str, object] | None = None,
) -> Generation:
    """Build the generation that belongs to a prompt."""
    return Generation(
        dimension=prompt.dimension,
        scenario=prompt.scenario,
        id=prompt.id,
        texts=tuple(
            text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts
        ),
        target=prompt.target,
        extra={**prompt.extra, **(extra or {})},
        finish_reasons=tuple(finish_reasons),
    )


def chosen(prompt: Prompt, *, logliks: Sequence[float]) -> Generation:
    """Build the generation of a prompt with choices from the log-likelihood of each: the likeliest
    wins, the first among equals.
    """
    best, second = sorted(logliks, reverse=True)[:2]
    extra = {"loglik": [round(value, 5) for value in logliks], "margin": round(best - second, 5)}
    return generation(
        prompt,
        texts=[prompt.choices[list(logliks).index(best)].text],
        finish_reasons=["choice"],
        extra=extra,
    )
