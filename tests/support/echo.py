"""Answer prompts without a model, to try out suites and scoring."""

from collections.abc import Iterator, Sequence

from comptrust.models.base import Backend, generation
from comptrust.records import Generation, Prompt


class Echo(Backend):
    """Answers with `text`, or with the prompt's target if `text` is None.

    Of a prompt's choices it takes the one with this text, else the first.
    """

    def __init__(self, text: str | None = None) -> None:
        self.text = text

    def describe(self) -> dict[str, str]:
        """Return provenance."""
        return {
            "backend": "echo",
            "template": "none",
            "dtype": "none",
            "text": "the target" if self.text is None else self.text,
        }

    def render(self, prompt: Prompt) -> str:
        """Return the messages as lines."""
        lines = [f"{message.role}: {message.content}\n" for message in prompt.messages]
        return "".join(lines) + prompt.prefill

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Answer every prompt in order."""
        for prompt in prompts:
            answer = str(prompt.target) if self.text is None else self.text
            texts = [choice.text for choice in prompt.choices]
            if texts:
                chosen = answer if answer in texts else texts[0]
                logliks = [0.0 if text == chosen else -1.0 for text in texts]
                yield generation(
                    prompt,
                    texts=[chosen],
                    finish_reasons=["choice"],
                    extra={"loglik": logliks, "margin": 1.0},
                )
            else:
                yield generation(
                    prompt,
                    texts=[answer] * prompt.sampling.n,
                    finish_reasons=["stop"] * prompt.sampling.n,
                )


class Refusing(Echo):
    """Refuses to answer where it would be wrong."""

    def describe(self) -> dict[str, str]:
        return Echo(self.text).describe()

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        for row in super().answer(prompts):
            sorry = {"texts": ("I'm sorry, but I cannot help with that.",)}
            yield row if row.texts == (row.target,) else row.model_copy(update=sorry)
