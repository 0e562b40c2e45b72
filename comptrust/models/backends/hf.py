"""Answer prompts with a local model through transformers: batched, length-sorted, each answer independent of its batch."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.errors import UserError
from comptrust.models import chat, loading
from comptrust.models.base import Backend, chosen, generation
from comptrust.records import Generation, Message, Prompt

if TYPE_CHECKING:
    import torch

Ids = tuple[int, ...]


class Hf(Backend):
    """A model folder, dense or compressed, that transformers loads."""

    def __init__(self, path: Path, *, batch_size: int = 32, template: str | None = None) -> None:
        self.model, self.tokenizer = loading.load(path)
        self.batch_size = batch_size
        self.template = template
        eos = self.model.generation_config.eos_token_id
        ends = eos if isinstance(eos, list) else [eos, self.tokenizer.eos_token_id]
        self.ends = {token for token in ends if token is not None}

    def describe(self) -> dict[str, str]:
        """Return provenance."""
        import torch
        import transformers

        own = "own" if self.tokenizer.chat_template else "plain"
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        return {"backend": "hf", "template": self.template or own, "dtype": str(self.model.dtype), **versions}

    def render(self, prompt: Prompt) -> str:
        """Return the text that the model sees."""
        return self._text(prompt.messages, prompt.prefill)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Answer every prompt: scenario by scenario those with choices, then the others by length."""
        scenarios = defaultdict(list)
        for prompt in prompts:
            if prompt.choices:
                scenarios[prompt.scenario].append(prompt)
        for members in scenarios.values():
            yield from self._choose(members)
        yield from self._generate([prompt for prompt in prompts if not prompt.choices])

    def _text(self, messages: Sequence[Message], prefill: str) -> str:
        return chat.render(messages, tokenizer=self.tokenizer, template=self.template, prefill=prefill)

    def _ids(self, text: str) -> Ids:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    # Choosing: the likelihood of each option after the prompt.

    def _choose(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Choose by mean log-likelihood per token, less that after the content-free prompt (Zhao et al. 2021, section 4)."""
        spans: dict[tuple[str, str], tuple[Ids, int]] = {}
        for prompt in prompts:
            if len(prompt.choices) < 2:
                raise UserError(f"Prompt '{prompt.id}' of {prompt.dimension} has one choice; give it at least two, or none.")
            for text in self._contexts(prompt):
                for choice in prompt.choices:
                    spans[text, choice.continuation] = self._span(text, choice.continuation)
        for start in range(0, len(prompts), 8 * self.batch_size):
            chunk = prompts[start : start + 8 * self.batch_size]
            keys = {(text, choice.continuation) for prompt in chunk for text in self._contexts(prompt) for choice in prompt.choices}
            values = self._likelihoods({key: spans[key] for key in keys})
            for prompt in chunk:
                context, *free = self._contexts(prompt)
                logliks = [values[context, choice.continuation] for choice in prompt.choices]
                for text in free:
                    logliks = [value - values[text, choice.continuation] for value, choice in zip(logliks, prompt.choices, strict=True)]
                yield chosen(prompt, logliks=logliks)

    def _contexts(self, prompt: Prompt) -> list[str]:
        texts = [self.render(prompt)]
        return [*texts, self._text(prompt.content_free, prompt.prefill)] if prompt.content_free else texts

    def _span(self, text: str, continuation: str) -> tuple[Ids, int]:
        """Return the tokens of the whole and where the continuation begins; a token that spans both belongs to it."""
        context, whole = self._ids(text), self._ids(text + continuation)
        return whole, min(common_prefix([context, whole]), len(whole) - 1)

    def _likelihoods(self, spans: dict[tuple[str, str], tuple[Ids, int]]) -> dict[tuple[str, str], float]:
        """Return the mean log-likelihood per token of each continuation.

        Options that differ in their last token alone share one row, and all rows share the cache of their common prefix.
        """
        rows: dict[Ids, list[tuple[tuple[str, str], Ids, int]]] = defaultdict(list)
        for key, (whole, begin) in spans.items():
            rows[whole[:-1]].append((key, whole, begin))
        first = min(begin for _, begin in spans.values())
        prefix = min(common_prefix(list(rows)), first - 1)
        cache = self._prefix_cache(next(iter(rows))[:prefix]) if prefix > 16 else None
        prefix = prefix if cache else 0
        values = {}
        ordered = sorted(rows, key=len)
        for start in range(0, len(ordered), self.batch_size):
            batch = ordered[start : start + self.batch_size]
            keep = max(len(whole) - begin for row in batch for _, whole, begin in rows[row])
            logits = self._forward([row[prefix:] for row in batch], cache=cache, prefix=prefix, keep=keep).log_softmax(dim=-1)
            for index, row in enumerate(batch):
                for key, whole, begin in rows[row]:
                    option = whole[begin:]
                    picked = [float(logits[index, position - len(option), token]) for position, token in enumerate(option)]
                    values[key] = sum(picked) / len(picked)
        return values

    def _prefix_cache(self, ids: Ids) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return keys and values of the shared prefix, one pair a layer, each of shape (1, heads, length, size)."""
        import torch

        with torch.inference_mode():
            output = self.model(torch.tensor([ids], device=self.model.device), use_cache=True, logits_to_keep=1)
        return [(layer.keys, layer.values) for layer in output.past_key_values.layers]

    def _forward(
        self, rows: Sequence[Ids], *, cache: list[tuple[torch.Tensor, torch.Tensor]] | None, prefix: int, keep: int
    ) -> torch.Tensor:
        """Return the last `keep` logits of each row, shape (rows, keep, vocabulary), after the cached prefix."""
        import torch
        from transformers import DynamicCache

        ids, mask = self._pad(rows)
        whole = torch.cat([torch.ones(len(rows), prefix, dtype=mask.dtype, device=mask.device), mask], dim=1)
        positions = (whole.cumsum(dim=1) - 1).clamp(min=0)[:, prefix:]
        past = DynamicCache()
        for index, (keys, values) in enumerate(cache or []):
            past.update(keys.expand(len(rows), -1, -1, -1), values.expand(len(rows), -1, -1, -1), index)
        with torch.inference_mode():
            output = self.model(
                ids, attention_mask=whole, position_ids=positions, past_key_values=past, use_cache=True, logits_to_keep=keep
            )
        return output.logits.float()

    def _pad(self, rows: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad on the left; return ids and attention mask, each of shape (rows, longest)."""
        import torch

        longest = max(len(row) for row in rows)
        pad = next(iter(self.ends), 0)
        ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows], device=self.model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self.model.device)
        return ids, mask

    # Generating: text, token by token.

    def _generate(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        rows = {prompt.id: self._ids(self.render(prompt)) for prompt in prompts}
        ordered = sorted(prompts, key=lambda prompt: (prompt.sampling.max_tokens, len(rows[prompt.id])))
        copies = [(prompt, copy) for prompt in ordered for copy in range(prompt.sampling.n)]
        done: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for start in range(0, len(copies), self.batch_size):
            batch = copies[start : start + self.batch_size]
            answers = self._decode([rows[prompt.id] for prompt, _ in batch], batch)
            for (prompt, _), answer in zip(batch, answers, strict=True):
                done[prompt.id].append(answer)
                if len(done[prompt.id]) == prompt.sampling.n:
                    texts, reasons = zip(*done.pop(prompt.id), strict=True)
                    yield generation(prompt, texts=texts, finish_reasons=reasons)

    def _decode(self, rows: Sequence[Ids], batch: Sequence[tuple[Prompt, int]]) -> list[tuple[str, str]]:
        """Decode a batch and return (text, finish reason) of each row."""
        import torch
        from transformers import DynamicCache

        ids, mask = self._pad(rows)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        generators = [_generator(prompt, copy) for prompt, copy in batch]
        tokens: list[list[int]] = [[] for _ in batch]
        open_rows = set(range(len(batch)))
        past = DynamicCache()
        with torch.inference_mode():
            while open_rows:
                output = self.model(
                    ids, attention_mask=mask, position_ids=positions, past_key_values=past, use_cache=True, logits_to_keep=1
                )
                logits = output.logits[:, -1].float()
                picked = logits.argmax(dim=-1).tolist()
                for index in sorted(open_rows):
                    prompt = batch[index][0]
                    if prompt.sampling.temperature > 0:
                        picked[index] = _sample(logits[index], prompt, generators[index])
                    tokens[index].append(picked[index])
                    if picked[index] in self.ends or len(tokens[index]) == prompt.sampling.max_tokens:
                        open_rows.discard(index)
                ids = torch.tensor(picked, device=mask.device)[:, None]
                mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
                positions = positions[:, -1:] + 1
        return [self._text_of(row) for row in tokens]

    def _text_of(self, row: list[int]) -> tuple[str, str]:
        text = self.tokenizer.decode(row, skip_special_tokens=True)
        return text, "stop" if row[-1] in self.ends else "length"


def common_prefix(rows: Sequence[Ids]) -> int:
    """Return how many leading tokens all rows share."""
    low, high = min(rows), max(rows)
    length = 0
    while length < min(len(low), len(high)) and low[length] == high[length]:
        length += 1
    return length


def _generator(prompt: Prompt, copy: int) -> torch.Generator:
    """Return a source of chance that belongs to this prompt and copy alone."""
    import torch

    seed = hashlib.sha256(f"{prompt.dimension}/{prompt.id}/{prompt.sampling.seed}/{copy}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(seed[:8], "big") >> 1)


def _sample(logits: torch.Tensor, prompt: Prompt, generator: torch.Generator) -> int:
    """Draw one token at the prompt's temperature and top-p."""
    import torch

    chances = (logits.cpu() / prompt.sampling.temperature).softmax(dim=-1)
    if prompt.sampling.top_p < 1:
        ordered, order = chances.sort(descending=True)
        outside = ordered.cumsum(dim=-1) - ordered > prompt.sampling.top_p
        chances[order[outside]] = 0
    return int(torch.multinomial(chances, 1, generator=generator))
