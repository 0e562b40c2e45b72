"""Answer prompts with a local model through transformers: what they share is computed once, each
answer is independent of the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.errors import UserError
from comptrust.models import chat, loading
from comptrust.models.base import Backend, chosen, generation
from comptrust.models.inference import heap
from comptrust.models.inference.packed import Packed, suits
from comptrust.models.inference.padded import Padded
from comptrust.models.inference.sampling import Row
from comptrust.models.inference.spans import Ids, span, token_ids
from comptrust.records import Generation, Message, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHUNK = 256
"""Prompts with choices that are computed before their answers are given."""


class Hf(Backend):
    """A model folder, dense or compressed, that transformers loads."""

    def __init__(
        self,
        path: Path,
        *,
        batch_size: int | None = None,
        template: str | None = None,
        loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None,
    ) -> None:
        """Compute so many rows at once; None leaves it to the way that the model is computed.

        `loaded` is the model in `path`, if the caller has it in memory already.
        """
        self.model, self.tokenizer = loaded or loading.load(path)
        heap.keep()
        self.template = template
        eos = self.model.generation_config.eos_token_id
        ends = eos if isinstance(eos, list) else [eos, self.tokenizer.eos_token_id]
        self.ends = {token for token in ends if token is not None}
        engine = Packed if suits(self.model) else Padded
        self.engine: Packed | Padded = engine(self.model, batch_size=batch_size, ends=self.ends)

    def describe(self) -> dict[str, str]:
        """Return provenance."""
        import torch
        import transformers

        own = "own" if self.tokenizer.chat_template else "plain"
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        return {
            "backend": "hf",
            "template": self.template or own,
            "dtype": str(self.model.dtype),
            **versions,
        }

    def machine(self) -> dict[str, str]:
        """Return facts of the machine, with the threads and the accelerators that compute."""
        import torch

        found = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return {
            **super().machine(),
            "threads": str(torch.get_num_threads()),
            "accelerators": ", ".join(found) or "none",
        }

    def render(self, prompt: Prompt) -> str:
        """Return the text that the model sees."""
        return self._text(prompt.messages, prompt.prefill)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Answer every prompt: scenario by scenario those with choices, then the others by
        length."""
        scenarios = defaultdict(list)
        for prompt in prompts:
            if prompt.choices:
                scenarios[prompt.scenario].append(prompt)
        for members in scenarios.values():
            yield from self._choose(members)
        yield from self._generate([prompt for prompt in prompts if not prompt.choices])

    def _text(self, messages: Sequence[Message], prefill: str) -> str:
        return chat.render(
            messages, tokenizer=self.tokenizer, template=self.template, prefill=prefill
        )

    def _ids(self, text: str) -> Ids:
        return token_ids(text, tokenizer=self.tokenizer)

    # Choosing: the likelihood of each option after the prompt.

    def _choose(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Choose by mean log-likelihood per token, less that after the content-free prompt (Zhao et
        al. 2021, section 4).
        """
        spans: dict[tuple[str, str], tuple[Ids, int]] = {}
        for prompt in prompts:
            if len(prompt.choices) < 2:
                raise UserError(
                    f"Prompt '{prompt.id}' of {prompt.dimension} has one choice; give it at least"
                    " two, or none."
                )
            for text in self._contexts(prompt):
                for choice in prompt.choices:
                    spans[text, choice.continuation] = span(
                        text, choice.continuation, tokenizer=self.tokenizer
                    )
        for start in range(0, len(prompts), CHUNK):
            chunk = prompts[start : start + CHUNK]
            keys = {
                (text, choice.continuation)
                for prompt in chunk
                for text in self._contexts(prompt)
                for choice in prompt.choices
            }
            pairs = {
                key: (whole[:begin], whole[begin:])
                for key, (whole, begin) in spans.items()
                if key in keys
            }
            found = self.engine.logliks(pairs.values())
            values = {key: found[pair] for key, pair in pairs.items()}
            for prompt in chunk:
                context, *free = self._contexts(prompt)
                logliks = [values[context, choice.continuation] for choice in prompt.choices]
                for text in free:
                    logliks = [
                        value - values[text, choice.continuation]
                        for value, choice in zip(logliks, prompt.choices, strict=True)
                    ]
                yield chosen(prompt, logliks=logliks)

    def _contexts(self, prompt: Prompt) -> list[str]:
        texts = [self.render(prompt)]
        return (
            [*texts, self._text(prompt.content_free, prompt.prefill)]
            if prompt.content_free
            else texts
        )

    # Generating: text, token by token.

    def _generate(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Decode every answer to every prompt; a prompt is done when all of its answers are."""
        rows = []
        for prompt in prompts:
            ids = self._ids(self.render(prompt))
            rows += [Row(prompt, ids, copy) for copy in range(prompt.sampling.n)]
        done: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(dict)
        for row, tokens in self.engine.decode(rows):
            key = (row.prompt.dimension, row.prompt.id)
            answers = done[key]
            answers[row.copy] = tokens
            if len(answers) == row.prompt.sampling.n:
                del done[key]
                texts, reasons = zip(
                    *(self._text_of(answers[copy]) for copy in sorted(answers)), strict=True
                )
                yield generation(row.prompt, texts=texts, finish_reasons=reasons)

    def _text_of(self, tokens: list[int]) -> tuple[str, str]:
        text = str(self.tokenizer.decode(tokens, skip_special_tokens=True))
        return text, "stop" if tokens[-1] in self.ends else "length"
