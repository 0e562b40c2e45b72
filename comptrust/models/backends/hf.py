"""Answer prompts with a local model through transformers: batched, length-sorted, each answer independent of its batch."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.errors import UserError
from comptrust.models import chat, loading
from comptrust.models.base import Backend, chosen, generation
from comptrust.models.spans import Ids, common_prefix, span, token_ids
from comptrust.records import Generation, Message, Prompt

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache

HEAD = 48
"""Leading tokens that prompts must share to be decoded together."""


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

    def machine(self) -> dict[str, str]:
        """Return facts of the machine, with the threads and the accelerators that compute."""
        import torch

        found = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return {**super().machine(), "threads": str(torch.get_num_threads()), "accelerators": ", ".join(found) or "none"}

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
        return token_ids(text, tokenizer=self.tokenizer)

    # Choosing: the likelihood of each option after the prompt.

    def _choose(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Choose by mean log-likelihood per token, less that after the content-free prompt (Zhao et al. 2021, section 4)."""
        spans: dict[tuple[str, str], tuple[Ids, int]] = {}
        for prompt in prompts:
            if len(prompt.choices) < 2:
                raise UserError(f"Prompt '{prompt.id}' of {prompt.dimension} has one choice; give it at least two, or none.")
            for text in self._contexts(prompt):
                for choice in prompt.choices:
                    spans[text, choice.continuation] = span(text, choice.continuation, tokenizer=self.tokenizer)
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

    def _likelihoods(self, spans: dict[tuple[str, str], tuple[Ids, int]]) -> dict[tuple[str, str], float]:
        """Return the mean log-likelihood per token of each continuation.

        Each context is computed once, after a beginning that all share, and its options go on from its cache.
        """
        import torch

        options: dict[Ids, list[tuple[tuple[str, str], Ids]]] = defaultdict(list)
        for key, (whole, begin) in spans.items():
            options[whole[:begin]].append((key, whole[begin:]))
        ordered = sorted(options, key=len)
        prefix = min(common_prefix(ordered), len(ordered[0]) - 1)
        cache = self._prefix_cache(ordered[0][:prefix]) if prefix > 0 and len(ordered) > 1 else None
        prefix = prefix if cache else 0
        values: dict[tuple[str, str], float] = {}
        for start in range(0, len(ordered), self.batch_size):
            batch = ordered[start : start + self.batch_size]
            ids, mask = self._pad([row[prefix:] for row in batch], prefix=prefix)
            past = self._past(cache, len(batch))
            first = self._step(ids, mask, past)[:, -1].log_softmax(dim=-1)
            asked = [(at, key, option) for at, row in enumerate(batch) for key, option in options[row]]
            found = [[float(first[at, option[0]])] for at, _, option in asked]
            longer = [number for number, (_, _, option) in enumerate(asked) if len(option) > 1]
            if longer:
                rows = torch.tensor([asked[number][0] for number in longer], device=mask.device)
                past.batch_select_indices(rows)
                ids, own = self._pad([asked[number][2][:-1] for number in longer], prefix=0, left=False)
                later = self._step(ids, torch.cat([mask[rows], own], dim=1), past, keep=ids.shape[1]).log_softmax(dim=-1)
                for at, number in enumerate(longer):
                    found[number] += [float(later[at, place, token]) for place, token in enumerate(asked[number][2][1:])]
            values |= {key: sum(one) / len(one) for (_, key, _), one in zip(asked, found, strict=True)}
        return values

    def _prefix_cache(self, ids: Ids) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return keys and values of the shared prefix, one pair a layer, each of shape (1, heads, length, size)."""
        import torch

        with torch.inference_mode():
            output = self.model(torch.tensor([ids], device=self.model.device), use_cache=True, logits_to_keep=1)
        return [(layer.keys, layer.values) for layer in output.past_key_values.layers]

    def _step(self, ids: torch.Tensor, mask: torch.Tensor, past: DynamicCache, *, keep: int = 1) -> torch.Tensor:
        """Feed ids, shape (rows, new), after what `past` holds, which grows by them; return the last `keep` logits of each row."""
        import torch

        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode():
            output = self.model(ids, attention_mask=mask, position_ids=positions, past_key_values=past, use_cache=True, logits_to_keep=keep)
        logits: torch.Tensor = output.logits.float()
        return logits

    def _past(self, cache: list[tuple[torch.Tensor, torch.Tensor]] | None, count: int) -> DynamicCache:
        """Return a cache that holds the shared prefix for `count` rows, or nothing."""
        from transformers import DynamicCache

        past = DynamicCache()
        for index, (keys, values) in enumerate(cache or []):
            past.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), index)
        return past

    def _pad(self, rows: Sequence[Ids], *, prefix: int, left: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad on one side; return ids, shape (rows, longest), and the attention mask, shape (rows, prefix + longest)."""
        import torch

        longest = max(len(row) for row in rows)
        pad = next(iter(self.ends), 0)

        def padded(row: Sequence[int], value: int) -> list[int]:
            fill = [value] * (longest - len(row))
            return [*fill, *row] if left else [*row, *fill]

        ids = torch.tensor([padded(row, pad) for row in rows], device=self.model.device)
        mask = torch.tensor([[1] * prefix + padded([1] * len(row), 0) for row in rows], device=self.model.device)
        return ids, mask

    # Generating: text, token by token.

    def _generate(self, prompts: Sequence[Prompt]) -> Iterator[Generation]:
        """Decode prompts that begin alike (system text, demonstrations) together, so that their beginning is computed once."""
        rows = {prompt.id: self._ids(self.render(prompt)) for prompt in prompts}
        heads = Counter(row[:HEAD] for row in rows.values())
        alike: dict[tuple[int, Ids], list[Prompt]] = defaultdict(list)
        for prompt in prompts:
            head = rows[prompt.id][:HEAD]
            alike[prompt.sampling.max_tokens, head if heads[head] >= self.batch_size // 2 else ()].append(prompt)
        for members in alike.values():
            members.sort(key=lambda prompt: len(rows[prompt.id]))
            copies = [(prompt, copy) for prompt in members for copy in range(prompt.sampling.n)]
            prefix = min(common_prefix([rows[prompt.id] for prompt in members]), len(rows[members[0].id]) - 1)
            cache = self._prefix_cache(rows[members[0].id][:prefix]) if prefix and len(copies) > 1 else None
            done: dict[str, list[tuple[str, str]]] = defaultdict(list)
            for start in range(0, len(copies), self.batch_size):
                batch = copies[start : start + self.batch_size]
                skip = prefix if cache else 0
                answers = self._decode([rows[prompt.id][skip:] for prompt, _ in batch], batch, cache=cache, prefix=skip)
                for (prompt, _), answer in zip(batch, answers, strict=True):
                    done[prompt.id].append(answer)
                    if len(done[prompt.id]) == prompt.sampling.n:
                        texts, reasons = zip(*done.pop(prompt.id), strict=True)
                        yield generation(prompt, texts=texts, finish_reasons=reasons)

    def _decode(
        self,
        rows: Sequence[Ids],
        batch: Sequence[tuple[Prompt, int]],
        *,
        cache: list[tuple[torch.Tensor, torch.Tensor]] | None,
        prefix: int,
    ) -> list[tuple[str, str]]:
        """Decode a batch after its cached prefix and return (text, finish reason) of each row; rows that ended are not computed on."""
        import torch

        ids, mask = self._pad(rows, prefix=prefix)
        past = self._past(cache, len(rows))
        generators = [_generator(prompt, copy) for prompt, copy in batch]
        tokens: list[list[int]] = [[] for _ in batch]
        computed = list(range(len(batch)))
        while True:
            logits = self._step(ids, mask, past)[:, -1]
            greedy = logits.argmax(dim=-1).tolist()
            for at, row in enumerate(computed):
                prompt = batch[row][0]
                tokens[row].append(_sample(logits[at], prompt, generators[row]) if prompt.sampling.temperature > 0 else greedy[at])
            still = [at for at, row in enumerate(computed) if not self._ended(tokens[row], batch[row][0])]
            if not still:
                return [self._text_of(row) for row in tokens]
            if len(still) < len(computed):
                past.batch_select_indices(torch.tensor(still, device=mask.device))
                mask, computed = mask[still], [computed[at] for at in still]
            ids = torch.tensor([tokens[row][-1:] for row in computed], device=mask.device)
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)

    def _ended(self, row: list[int], prompt: Prompt) -> bool:
        return row[-1] in self.ends or len(row) == prompt.sampling.max_tokens

    def _text_of(self, row: list[int]) -> tuple[str, str]:
        text = str(self.tokenizer.decode(row, skip_special_tokens=True))
        return text, "stop" if row[-1] in self.ends else "length"


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
